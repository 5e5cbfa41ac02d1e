"""Exact overlap of predicted and true polygons, by shapely."""

from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch

from coral_mtl.errors import DataError, MissingExtraError
from coral_mtl.losses.polygon.pairs import compacted, polygon_pairs
from coral_mtl.losses.polygon.vertices import l2

THRESHOLDS = np.arange(10, 20) / 20.0
"""0.5, 0.55, ..., 0.95, those of COCO."""


class PolygonIoU:
    """`iou`: mean exact IoU; `above_50`: share of polygons with an IoU of 0.5 or more; `above_50_95`: the mean of such
    shares over the thresholds 0.5, 0.55, ..., 0.95, which is average precision where every polygon is predicted once;
    `loss`: mean squared distance of the vertices over the target's area (see losses.polygon.l2).

    A prediction that crosses itself counts with the area that it encloses (shapely's `make_valid`). A target without an
    area, or with fewer than three valid vertices, has no IoU and is left out; a prediction that is not finite has NaN.
    Figures of no polygon are NaN.

    Raises MissingExtraError where shapely is not installed.
    """

    names: ClassVar[tuple[str, ...]] = ("iou", "above_50", "above_50_95", "loss")
    score: ClassVar[str] = "iou"

    def __init__(self) -> None:
        if find_spec("shapely") is None:
            raise MissingExtraError("PolygonIoU", "shapely", "polygon")
        self.reset()

    def reset(self) -> None:
        """Forget everything added so far."""
        self._values: list[np.ndarray] = []
        self._squares: list[np.ndarray] = []

    @property
    def count(self) -> int:
        """How many polygons the figures are of."""
        return sum(len(values) for values in self._values)

    def update(self, prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> None:
        """Add a batch of (N, V, 2) vertices in one unit, of which those with a mask (N, V) above 0 count.

        Raise DataError where a target is not finite, or the shapes do not fit.
        """
        values, defined = polygon_ious(prediction, target, mask)
        self._values.append(values[defined])
        squares = l2(polygon_pairs(prediction.detach().double(), target.double(), mask=mask)).loss
        self._squares.append(np.where(np.isnan(values), np.nan, squares.cpu().numpy())[defined])

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        if self.count == 0:
            return dict.fromkeys(self.names, float("nan"))
        values = np.concatenate(self._values)
        above = np.where(np.isnan(values), np.nan, values >= THRESHOLDS[:, None]).mean(axis=1)
        found = (values.mean(), above[0], above.mean(), np.concatenate(self._squares).mean())
        return dict(zip(self.names, map(float, found), strict=True))


def polygon_ious(
    prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) exact IoUs, NaN where the prediction is not finite, and (N,) whether the target has an area at all.

    Raise DataError where a target is not finite, or the shapes do not fit.
    """
    import shapely  # noqa: PLC0415 (an optional extra)

    predicted, true = (_outlines(vertices, mask) for vertices in (prediction, target))
    if predicted.shape != true.shape or true.ndim != 3 or true.shape[1] < 3 or not np.isfinite(true).all():
        raise DataError(
            f"predictions {predicted.shape} and targets {true.shape} are not (N, V, 2) vertices of polygons with V of "
            "3 or more and finite targets"
        )
    finite = np.isfinite(predicted).all(axis=(1, 2))
    drawn = np.where(finite[:, None, None], predicted, 0.0)
    shapes: list[Any] = [shapely.make_valid(shapely.polygons(outline)) for outline in (drawn, true)]
    overlap, union = shapely.area(shapely.intersection(*shapes)), shapely.area(shapely.union(*shapes))
    defined = shapely.area(shapes[1]) > 0.0
    values = np.divide(overlap, union, out=np.zeros_like(union), where=defined)
    values[~finite] = np.nan
    return values, defined


def _outlines(vertices: torch.Tensor, mask: torch.Tensor | None) -> np.ndarray:
    """Return (N, V, 2) vertices in float64, valid ones first and the first of them repeated behind."""
    outlines = vertices.detach().cpu().double()
    if mask is not None:
        outlines = compacted(outlines.permute(2, 1, 0), mask.detach().cpu().T > 0).permute(2, 1, 0)
    return outlines.numpy()
