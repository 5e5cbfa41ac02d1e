"""All coordinates at 0 or above."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from coral_mtl import registry
from coral_mtl.constraints.sets.feasible import FeasibleSet


@registry.constraint_sets.register
class NonNegative(FeasibleSet):
    """w >= 0; c = -w. The projection max(0, w) leaves exact zeros."""

    def project(self, tensor: Tensor) -> Tensor:
        return tensor.clamp(min=0.0)

    def violation(self, tensor: Tensor) -> Tensor:
        return -tensor[None]

    def transform(self) -> nn.Module:
        return Softplus()


class Softplus(nn.Module):
    """w = log(1 + exp(v)), which never reaches 0."""

    def forward(self, free: Tensor) -> Tensor:
        return functional.softplus(free)

    def right_inverse(self, inside: Tensor) -> Tensor:
        return inside + torch.log(-torch.expm1(-inside))
