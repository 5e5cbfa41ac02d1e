"""Overlap and agreement along the contours of classes: boundary IoU and boundary F1.

Cheng, Girshick, Dollar, Berg & Kirillov, "Boundary IoU: improving object-centric image segmentation evaluation", CVPR
2021. With G_d the pixels within d of a class's contour, boundary IoU is |(G_d & G) & (P_d & P)| / |(G_d & G) | (P_d &
P)|, and boundary F1 is 2 p r / (p + r) with p = |P_1 & G_d| / |P_1| and r = |G_1 & P_d| / |G_1|, where G_1 is the
contour itself, one pixel wide and inside the class. Distances are of squares (chessboard), as from d erosions by
3 x 3 pixels, and the image ends in contours: both as in the authors' code.

What they do not define: an element without a label belongs to no class, is not counted, and makes no contour.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coral_mtl.metrics.segmentation.confusion import ratio


def thickness(share: float, height: int, width: int) -> int:
    """Return d in pixels: a share of the image's diagonal, rounded, at least 1."""
    return max(1, round(share * math.hypot(height, width)))


def boundary_band(classes: Tensor, distance: int) -> Tensor:
    """Return where elements of (N, H, W) int16 classes lie within `distance` of an element of another class, or of the
    outside of the image; -1 is no class, and False.

    An element whose square of 2 distance + 1 pixels a side holds one class only is not there: that is erosion by the
    square, of all classes at once.
    """
    highest = window_maximum(classes, distance)
    lowest = -window_maximum(torch.where(classes < 0, torch.iinfo(classes.dtype).min, -classes), distance)
    band = highest != lowest
    for dim in (-2, -1):
        edge = min(distance, band.size(dim))
        band.narrow(dim, 0, edge).fill_(True)
        band.narrow(dim, -edge, edge).fill_(True)
    return band & (classes >= 0)


def window_maximum(values: Tensor, radius: int) -> Tensor:
    """Return the largest of the integers (..., H, W) in the square of 2 radius + 1 pixels a side around each.

    This is max-pooling with stride 1, by windows that double: about 2 log2(2 radius + 1) comparisons a pixel.
    """
    lowest = torch.iinfo(values.dtype).min
    for dim, padding in ((-1, (radius, radius)), (-2, (0, 0, radius, radius))):
        values = functional.pad(values, padding, value=lowest)
        reach = 1
        while reach < 2 * radius + 1:
            step = min(reach, 2 * radius + 1 - reach)
            ahead = values.size(dim) - step
            values = torch.maximum(values.narrow(dim, 0, ahead), values.narrow(dim, step, ahead))
            reach += step
    return values


class BoundaryCounts:
    """Counts of elements by class, int64, from which boundary IoU and F1 over all images follow."""

    def __init__(self, size: int) -> None:
        self.common, self.predicted, self.true = np.zeros((3, size), dtype=np.int64)
        self.predicted_contour, self.predicted_near = np.zeros((2, size), dtype=np.int64)
        self.true_contour, self.true_near = np.zeros((2, size), dtype=np.int64)

    def update(self, true: Tensor, predicted: Tensor, share: float) -> None:
        """Add (N, H, W) classes, the true ones -1 where there is no label; d is a share of their diagonal."""
        size = len(self.true)
        distance = thickness(share, *true.shape[-2:])
        true, predicted = true.short(), predicted.masked_fill(true < 0, -1).short()
        true_band, predicted_band = boundary_band(true, distance), boundary_band(predicted, distance)
        self.true += _counts(true, true_band, size)
        self.predicted += _counts(predicted, predicted_band, size)
        self.common += _counts(true, true_band & predicted_band & (true == predicted), size)
        self._update_contours(true, predicted, distance)

    def _update_contours(self, true: Tensor, predicted: Tensor, distance: int) -> None:
        contours = [classes.masked_fill(~boundary_band(classes, 1), -1) for classes in (true, predicted)]
        for group in torch.cat(contours).unique().tolist():
            if group < 0:
                continue
            g, p = ((contour == group) for contour in contours)
            near_g, near_p = (window_maximum(contour.byte(), distance).bool() for contour in (g, p))
            figures = torch.stack([g.sum(), (g & near_p).sum(), p.sum(), (p & near_g).sum()]).tolist()
            self.true_contour[group] += figures[0]
            self.true_near[group] += figures[1]
            self.predicted_contour[group] += figures[2]
            self.predicted_near[group] += figures[3]

    def ious(self) -> np.ndarray:
        """Return (C,) boundary IoUs, NaN for a class that has no contour in the targets nor in the predictions."""
        return ratio(self.common, self.true + self.predicted - self.common)

    def f1s(self) -> np.ndarray:
        """Return (C,) boundary F1s, NaN for a class that has no contour in the targets nor in the predictions.

        With a of n predicted and b of m true elements near the others' contour it is 2 a b / (a m + b n).
        """
        a, b = self.predicted_near.astype(np.float64), self.true_near.astype(np.float64)
        f1 = ratio(2.0 * a * b, a * self.true_contour + b * self.predicted_contour)
        return np.where((a == 0) & (self.true_contour + self.predicted_contour > 0), 0.0, f1)


def _counts(classes: Tensor, where: Tensor, size: int) -> np.ndarray:
    return torch.bincount(classes[where].long(), minlength=size).cpu().numpy()
