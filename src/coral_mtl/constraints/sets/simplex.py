"""Weights of a given total."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.sets.feasible import FeasibleSet
from coral_mtl.options import Positive


@registry.constraint_sets.register
class Simplex(FeasibleSet):
    """w >= 0 with sum w = radius, over all coordinates of a tensor; c = (-w, sum w - radius, radius - sum w).

    The projection is max(0, w - tau), tau found exactly by sorting (Duchi et al. 2008, figure 1).
    """

    has_interior: ClassVar[bool] = False

    def __init__(self, *, radius: Positive = 1.0) -> None:
        """Set the total.

        Args:
            radius: what the coordinates add up to (default 1.0).
        """
        self.radius = radius

    def project(self, tensor: Tensor) -> Tensor:
        ordered = tensor.flatten().sort(descending=True).values
        excess = ordered.cumsum(dim=0) - self.radius
        thresholds = excess / torch.arange(1, len(ordered) + 1, dtype=tensor.dtype, device=tensor.device)
        last = (ordered > thresholds).sum() - 1
        return (tensor - thresholds[last]).clamp(min=0.0)

    def violation(self, tensor: Tensor) -> Tensor:
        over = tensor.sum() - self.radius
        return torch.cat([-tensor.flatten(), over[None], -over[None]])

    def transform(self) -> nn.Module:
        return Shares(self.radius)


class Shares(nn.Module):
    """w = radius softmax(v) over all coordinates."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, free: Tensor) -> Tensor:
        return self.radius * free.flatten().softmax(dim=0).view_as(free)

    def right_inverse(self, inside: Tensor) -> Tensor:
        return torch.log(inside / self.radius)
