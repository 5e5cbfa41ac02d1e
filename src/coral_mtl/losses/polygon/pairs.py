"""Predicted and true polygons side by side, brought into the one form that all polygon losses work on.

Tensors have the pairs last, (2, V, N): reductions over the first dimensions of such tensors are several times as fast
as over those of (N, V, 2).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coral_mtl.errors import DataError

SMALLEST_AREA = 1e-4
"""A target whose area is below this share of its bounding box's squared diagonal is degenerate."""


@dataclass(frozen=True, slots=True)
class PolygonPairs:
    """N pairs of polygons with at most V vertices, in any unit u of length.

    prediction, target: (2, V, N) vertices, the valid ones of each polygon first, in their order; the places behind them
        repeat the first, which adds edges of length zero and nothing else.
    count: (N,) how many are valid.
    area: (N,) u^2, by which squared lengths are divided: that of the target, at least `SMALLEST_AREA` of its box's
        squared diagonal; 1 where the target is a point.
    degenerate: (N,) whether the target's area is below that share, and says nothing about overlap.
    point: (N,) whether the target has no extent and no area, and so no scale.
    """

    prediction: Tensor
    target: Tensor
    count: Tensor
    area: Tensor
    degenerate: Tensor
    point: Tensor

    @property
    def valid(self) -> Tensor:
        """(V, N) which places hold a vertex."""
        return first_places(self.count, self.target.shape[1])

    def with_target(self, target: Tensor) -> "PolygonPairs":
        """Return the pairs with the vertices of the target in another order."""
        return replace(self, target=target)


def polygon_pairs(
    prediction: Tensor, target: Tensor, *, mask: Tensor | None = None, area: Tensor | None = None
) -> PolygonPairs:
    """Bring predictions and targets into one form.

    Half precisions are computed in float32. Both shapes are moved by the target's mean, which no polygon loss notices,
    so that float32 spends no digits on where in the image they are.

    Args:
        prediction: (N, V, 2) vertices.
        target: (N, V, 2) vertices.
        mask: (N, V) which vertices count, of both: boolean, or a visibility that is above 0 (default: all).
        area: (N,) or (N, 1) areas of the targets in u^2 (default: their shoelace areas).

    Raises:
        DataError: the shapes do not fit.
    """
    _check_shapes(prediction, target, mask, area)
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    prediction, target = (shape.to(dtype).permute(2, 1, 0).contiguous() for shape in (prediction, target))
    count = torch.full(target.shape[2:], target.shape[1], device=target.device)
    if mask is not None:
        valid = mask.T > 0
        count = valid.sum(dim=0)
        prediction, target = compacted(prediction, valid), compacted(target, valid)
    centre = mean_vertex(target, count).detach()
    prediction, target = prediction - centre, target - centre
    own = signed_area(target).abs() if area is None else area.reshape(-1).to(dtype)
    extent = target.amax(dim=1) - target.amin(dim=1)
    floor = SMALLEST_AREA * extent.square().sum(dim=0)
    point = (own <= 0.0) & (floor <= 0.0)
    divisor = torch.where(point, 1.0, torch.maximum(own, floor))
    return PolygonPairs(prediction, target, count, divisor, degenerate=(own < floor) | point, point=point)


def compacted(vertices: Tensor, valid: Tensor) -> Tensor:
    """Return (2, V, N) vertices with those that are `valid`, (V, N), first and the first of them repeated behind.

    All vertices of a polygon without a valid one become 0.
    """
    count = valid.sum(dim=0)
    order = torch.argsort((~valid).to(torch.uint8), dim=0, stable=True)
    order = torch.where(first_places(count, len(valid)), order, order[:1])
    return torch.where(count > 0, vertices.gather(1, order.expand_as(vertices)), 0.0)


def first_places(count: Tensor, places: int) -> Tensor:
    """Return (places, N): true in the first `count` places of each polygon."""
    return torch.arange(places, device=count.device)[:, None] < count


def mean_vertex(vertices: Tensor, count: Tensor) -> Tensor:
    """Return (2, 1, N), the mean of the first `count` vertices of each polygon."""
    valid = first_places(count, vertices.shape[1])
    return (vertices * valid).sum(dim=1, keepdim=True) / count.clamp(min=1)


def signed_area(vertices: Tensor) -> Tensor:
    """Return (N,) the shoelace areas 1/2 sum_i (x_i y_{i+1} - x_{i+1} y_i) of (2, V, N) vertices, in u^2.

    Above 0 for counter-clockwise order with y upwards, so clockwise in image coordinates. The lobes of a polygon that
    crosses itself cancel: a symmetric bow-tie has area 0.
    """
    return cross(vertices, vertices.roll(-1, dims=1)).sum(dim=0) / 2.0


def cross(first: Tensor, second: Tensor) -> Tensor:
    """Return x_1 y_2 - x_2 y_1 of vectors (2, ...)."""
    return first[0] * second[1] - second[0] * first[1]


def _check_shapes(prediction: Tensor, target: Tensor, mask: Tensor | None, area: Tensor | None) -> None:
    if prediction.shape != target.shape or target.ndim != 3 or target.shape[2] != 2 or target.shape[1] < 1:
        raise DataError(
            f"polygons come as (N, V, 2) vertices, predictions {tuple(prediction.shape)} and targets "
            f"{tuple(target.shape)} alike"
        )
    if mask is not None and mask.shape != target.shape[:2]:
        raise DataError(f"a mask of shape {tuple(mask.shape)} for {tuple(target.shape[:2])} vertices")
    if area is not None and area.shape not in {target.shape[:1], (*target.shape[:1], 1)}:
        raise DataError(f"areas of shape {tuple(area.shape)} for {target.shape[0]} polygons")
