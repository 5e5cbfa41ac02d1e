"""How far predicted vertices are from theirs: squared distances over the target's area, in three forms.

With e_v = |p_v - t_v|^2 / A the loss of a polygon is the mean of f(e_v) over its valid vertices. All three depend on
which vertex is called the first; `cyclically_aligned` takes that away. A polygon without a valid vertex, or whose
target is a point of area 0, does not count.
"""

import torch
from torch import Tensor

from coral_mtl.losses.polygon.pairs import PolygonPairs
from coral_mtl.losses.polygon.rows import Rows


def l2(pairs: PolygonPairs) -> Rows:
    """Return the mean of e_v: its gradient grows with the distance."""
    return _mean_over_vertices(pairs, _relative_squares(pairs))


def oks(pairs: PolygonPairs, *, falloff: float = 1.0) -> Rows:
    """Return the mean of 1 - exp(-e_v / k), in [0, 1), with k = `falloff`; that of COCO keypoints is 8 sigma^2.

    It saturates: with k = 1 the gradient at a distance of 2 sqrt(A) is a tenth of its largest, and at 3 sqrt(A) a
    thousandth.
    """
    return _mean_over_vertices(pairs, -torch.expm1(-_relative_squares(pairs) / falloff))


def log(pairs: PolygonPairs) -> Rows:
    """Return the mean of log(1 + e_v): outliers pull with 1 / distance, neither as `l2` nor not at all."""
    return _mean_over_vertices(pairs, torch.log1p(_relative_squares(pairs)))


def _relative_squares(pairs: PolygonPairs) -> Tensor:
    return (pairs.prediction - pairs.target).square().sum(dim=0) / pairs.area


def _mean_over_vertices(pairs: PolygonPairs, losses: Tensor) -> Rows:
    mean = (losses * pairs.valid).sum(dim=0) / pairs.count.clamp(min=1)
    return Rows(mean, counted=(pairs.count > 0) & ~pairs.point)
