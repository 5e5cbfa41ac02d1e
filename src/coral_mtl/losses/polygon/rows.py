"""A loss for each polygon, and its mean over those that it is defined for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coral_mtl.errors import DataError
from coral_mtl.losses.polygon.pairs import PolygonPairs


@dataclass(frozen=True, slots=True)
class Rows:
    """A loss by polygon.

    loss: (N,), dimensionless; finite where the polygons are, counted or not.
    counted: (N,) whether the loss is defined for the polygon.
    """

    loss: Tensor
    counted: Tensor


PolygonTerm = Callable[[PolygonPairs], Rows]


def mean_loss(rows: Rows, weight: Tensor | None = None) -> Tensor:
    """Return sum_n w_n l_n / sum_n w_n over the polygons that count; 0, with a gradient of 0, if none does.

    Args:
        rows: the losses.
        weight: (N,) or (N, 1), 0 or above (default: all 1).

    Raises:
        DataError: the weights are of another number, or one is negative.
    """
    weights = rows.counted.to(rows.loss.dtype)
    if weight is not None:
        if weight.numel() != len(rows.loss) or bool((weight < 0).any()):
            raise DataError(f"weights of polygons are {len(rows.loss)} numbers of 0 or above")
        weights = weights * weight.reshape(-1)
    total = weights.sum()
    return (weights * rows.loss).sum() / torch.where(total > 0, total, torch.ones_like(total))
