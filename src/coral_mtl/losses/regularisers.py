"""Prices on the size or the shape of named parameters, which no strategy bargains with.

A regulariser gives a term of the loss, and where its gradient cannot do what it promises also the map that can: the L1
norm has exact zeros at its optimum, and gradient steps do not find them.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from coral_mtl import registry
from coral_mtl.options import NonNegative


class Regulariser(ABC):
    """A price on tensors of parameters."""

    @abstractmethod
    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the price, a scalar."""


@runtime_checkable
class Proximal(Protocol):
    """A regulariser with a map to call after each optimiser step, in place of the penalty as a term of the loss.

    Where parameters are non-negative too, project first and shrink then.
    """

    def shrink(self, tensor: Tensor, step_size: float) -> Tensor:
        """Return argmin_w step_size penalty(w) + |w - tensor|^2 / 2; `step_size` is the tensor's learning rate."""
        ...


class Priced(Regulariser):
    """A regulariser with a single price."""

    def __init__(self, *, weight: NonNegative) -> None:
        """Set the price.

        Args:
            weight: factor on the whole penalty.
        """
        self.weight = weight


@registry.regularisers.register
class L1(Priced):
    """weight sum |w|; shrinks to sign(w) max(0, |w| - step_size weight), which has exact zeros."""

    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.weight * _total([tensor.abs().sum() for tensor in tensors])

    def shrink(self, tensor: Tensor, step_size: float) -> Tensor:
        return _soft(tensor, step_size * self.weight)


@registry.regularisers.register
class L2(Priced):
    """weight sum w^2: coupled, so that Adam divides its gradient by the size of all gradients.

    The decoupled form, which shrinks every weight by the same factor, is AdamW's `weight_decay`.
    """

    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.weight * _total([tensor.square().sum() for tensor in tensors])


@registry.regularisers.register
class ElasticNet(Regulariser):
    """l1 sum |w| + l2 sum w^2 (Zou & Hastie 2005); shrinks as L1 does, then by 1 / (1 + 2 step_size l2)."""

    def __init__(self, *, l1: NonNegative, l2: NonNegative) -> None:
        """Set both prices.

        Args:
            l1: price of one unit of |w|.
            l2: price of one unit of w^2.
        """
        self.l1 = l1
        self.l2 = l2

    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        return _total([self.l1 * tensor.abs().sum() + self.l2 * tensor.square().sum() for tensor in tensors])

    def shrink(self, tensor: Tensor, step_size: float) -> Tensor:
        return _soft(tensor, step_size * self.l1) / (1.0 + 2.0 * step_size * self.l2)


@registry.regularisers.register
class GroupLasso(Priced):
    """weight sum_g sqrt(n_g) |w_g|, a group being a tensor of n_g weights (Yuan & Lin 2006).

    Shrinks to w max(0, 1 - step_size weight sqrt(n) / |w|): tensors become 0 as a whole.
    """

    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        lengths = [math.sqrt(tensor.numel()) * torch.linalg.vector_norm(tensor) for tensor in tensors]
        return self.weight * _total(lengths)

    def shrink(self, tensor: Tensor, step_size: float) -> Tensor:
        return shrunk_group(tensor, step_size * self.weight * math.sqrt(tensor.numel()))


@registry.regularisers.register
class Entropy(Priced):
    """weight sum p log p with p = max(0, w) / sum max(0, w) over all tensors: lowest, -log n, where all are equal.

    0 log 0 is 0. The slope at p = 0, which is -infinity, is taken at 1e-12. For weights that are to be even within
    layers only, give each layer its own regulariser.
    """

    def penalty(self, tensors: Sequence[Tensor]) -> Tensor:
        weights = torch.cat([tensor.flatten() for tensor in tensors]).clamp(min=0.0)
        shares = weights / weights.sum().clamp(min=1e-12)
        return self.weight * (shares * shares.clamp(min=1e-12).log()).sum()


def shrunk_group(tensor: Tensor, threshold: float) -> Tensor:
    """Return w max(0, 1 - threshold / |w|), and 0 for w = 0."""
    length = torch.linalg.vector_norm(tensor)
    return tensor * (1.0 - threshold / torch.where(length > 0.0, length, 1.0)).clamp(min=0.0)


def _soft(tensor: Tensor, threshold: float) -> Tensor:
    return tensor.sign() * (tensor.abs() - threshold).clamp(min=0.0)


def _total(prices: list[Tensor]) -> Tensor:
    return torch.stack(prices).sum()
