"""Figures of predicted probabilities: negative log-likelihood, Brier score, expected calibration error."""

import math
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor


class Calibration:
    """Sums over elements, from which the figures over everything added so far follow.

    `NLL` is the mean of -log p_y, in nats. `Brier` is the mean of sum_c (p_c - [c = y])^2, from 0 to 2 (Brier 1950).
    `ECE` is sum_b n_b / n |accuracy_b - confidence_b| over bins of equal width of the largest probability (Guo, Pleiss,
    Sun & Weinberger 2017), each with its lower end, the last one with both. Figures of no element are NaN.
    """

    def __init__(self, bins: int) -> None:
        self.count = 0
        self._nll = 0.0
        self._brier = 0.0
        self._binned = torch.zeros(3, bins, dtype=torch.float64)  # elements, sum of confidences, right ones

    @property
    def diverged(self) -> bool:
        """Whether the probabilities of a labelled element were NaN."""
        return math.isnan(self._nll)

    @torch.no_grad()
    def update(self, log_p: Tensor, true: Tensor, predicted: Tensor) -> None:
        """Add log-probabilities (N, C, ...), true classes (N, ...), -1 where there is no label, and predicted ones."""
        labelled = true >= 0
        nll = -log_p.gather(1, true.clamp(min=0).unsqueeze(1)).squeeze(1)[labelled]
        brier = ((2.0 * log_p).exp().sum(dim=1)[labelled] - 2.0 * (-nll).exp() + 1.0).sum(dtype=torch.float64)
        self.count += len(nll)
        self._nll += nll.sum(dtype=torch.float64).item()
        self._brier += brier.item()
        confidence = log_p.amax(dim=1)[labelled].exp().double()
        self._binned += self._bins(confidence, (true == predicted)[labelled].double()).cpu()

    def _bins(self, confidence: Tensor, right: Tensor) -> Tensor:
        """Sum up over the elements of each bin; a confidence that is NaN is of the last one, and makes the ECE NaN."""
        bins = self._binned.size(1)
        index = confidence.nan_to_num(1.0).mul(bins).long().clamp(max=bins - 1)
        rows = torch.stack([torch.ones_like(confidence), confidence, right], dim=1)
        return torch.zeros(bins, 3, dtype=torch.float64, device=rows.device).index_add_(0, index, rows).T

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        if self.count == 0:
            return dict.fromkeys(("NLL", "Brier", "ECE"), float("nan"))
        _, confidences, right = self._binned
        sums = {"NLL": self._nll, "Brier": self._brier, "ECE": (right - confidences).abs().sum().item()}
        return {name: value / self.count for name, value in sums.items()}

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """Return what one would be that had seen all elements of several with equal bins."""
        parts = list(parts)
        whole = cls(parts[0]._binned.size(1))
        for part in parts:
            whole.count += part.count
            whole._nll += part._nll
            whole._brier += part._brier
            whole._binned += part._binned
        return whole
