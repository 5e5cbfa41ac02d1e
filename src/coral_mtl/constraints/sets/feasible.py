"""What a set of allowed values has to tell."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class FeasibleSet(ABC):
    """A convex set of tensors w, {w : c_i(w) <= 0 for all i}."""

    has_interior: ClassVar[bool] = True
    """Whether some w has c_i(w) < 0 for all i, as a barrier needs."""

    @abstractmethod
    def project(self, tensor: Tensor) -> Tensor:
        """Return the nearest tensor of the set."""

    @abstractmethod
    def violation(self, tensor: Tensor) -> Tensor:
        """Return the c_i: above 0 where violated, below 0 by how far the bound is away.

        Of shape (k, *tensor.shape) where each c_i concerns a single coordinate, else (k,).
        """

    @abstractmethod
    def transform(self) -> nn.Module:
        """Return a smooth map onto the inside of the set, with a `right_inverse` defined there."""
