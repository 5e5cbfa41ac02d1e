"""Tensors of a limited length."""

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.sets.feasible import FeasibleSet
from coral_mtl.options import Positive


@registry.constraint_sets.register
class Ball(FeasibleSet):
    """|w| <= radius, the Euclidean length over all coordinates of a tensor; c = |w| - radius."""

    def __init__(self, *, radius: Positive) -> None:
        """Set the radius.

        Args:
            radius: largest length.
        """
        self.radius = radius

    def project(self, tensor: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(tensor)
        return torch.where(length > self.radius, tensor * (self.radius / length), tensor)

    def violation(self, tensor: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(tensor) - self.radius)[None]

    def transform(self) -> nn.Module:
        return Inside(self.radius)


class Inside(nn.Module):
    """w = v / sqrt(1 + |v|^2 / radius^2), which never reaches the sphere."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, free: Tensor) -> Tensor:
        return free / torch.sqrt(1.0 + (free / self.radius).square().sum())

    def right_inverse(self, inside: Tensor) -> Tensor:
        return inside / torch.sqrt(1.0 - (inside / self.radius).square().sum())
