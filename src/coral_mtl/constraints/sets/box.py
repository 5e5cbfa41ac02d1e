"""All coordinates between two bounds."""

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.sets.feasible import FeasibleSet
from coral_mtl.errors import ConfigError


@registry.constraint_sets.register
class Box(FeasibleSet):
    """low <= w <= high; c = (low - w, w - high)."""

    def __init__(self, *, low: float, high: float) -> None:
        """Set the bounds.

        Args:
            low: smallest value of a coordinate.
            high: largest value, above `low`.

        Raises:
            ConfigError: `high` is not above `low`.
        """
        if not low < high:
            raise ConfigError(f"Box: nothing lies between {low:g} and {high:g}\n    high must be above low")
        self.low = low
        self.high = high

    def project(self, tensor: Tensor) -> Tensor:
        return tensor.clamp(self.low, self.high)

    def violation(self, tensor: Tensor) -> Tensor:
        return torch.stack([self.low - tensor, tensor - self.high])

    def transform(self) -> nn.Module:
        return Squashed(self.low, self.high)


class Squashed(nn.Module):
    """w = low + (high - low) sigmoid(v), which never reaches the bounds."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, free: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(free)

    def right_inverse(self, inside: Tensor) -> Tensor:
        return torch.logit((inside - self.low) / (self.high - self.low))
