"""How often a distance agrees with the judges who chose between two images."""

from typing import ClassVar

import torch
from torch import Tensor


class TwoAFC:
    """`score`: mean over the triplets of the share of judges whom the distances agree with; ties agree by one half.

    With h the share that chose the second image: (1 - h) where d0 < d1, h where d1 < d0, 1/2 where d0 = d1. A distance
    that is NaN makes the score NaN. Beside it `oracle`, the mean of max(h, 1 - h), which no distance can beat, and
    `judge`, the mean of h^2 + (1 - h)^2, what another judge of the same jury would reach. Figures of no triplet are
    NaN.
    """

    names: ClassVar[tuple[str, ...]] = ("score", "oracle", "judge")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything added so far."""
        self.count = 0
        self._sums = torch.zeros(3, dtype=torch.float64)

    @torch.no_grad()
    def update(self, first: Tensor, second: Tensor, votes: Tensor) -> None:
        """Add (N,) distances of both images from the reference and (N,) votes h in [0, 1]."""
        h = votes.detach().cpu().double()
        oracle, judge = torch.maximum(h, 1.0 - h), h.square() + (1.0 - h).square()
        self._sums += torch.stack([agreement(first, second, h).sum(), oracle.sum(), judge.sum()])
        self.count += len(h)

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        means = self._sums / self.count if self.count else torch.full((3,), torch.nan)
        return dict(zip(self.names, means.tolist(), strict=True))


def agreement(first: Tensor, second: Tensor, votes: Tensor) -> Tensor:
    """Return (N,) float64, the share of judges whom two distances agree with."""
    d0, d1, h = (values.detach().cpu().double() for values in (first, second, votes))
    chosen = torch.where(d0 < d1, 1.0 - h, torch.where(d1 < d0, h, 0.5))
    return torch.where(torch.isnan(d0) | torch.isnan(d1), torch.nan, chosen)
