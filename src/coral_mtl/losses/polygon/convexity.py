"""A term that is zero for convex polygons: the companion of MGIoU, which sees convex hulls only."""

import torch
from torch import Tensor

from coral_mtl.losses.polygon.pairs import PolygonPairs, cross, signed_area
from coral_mtl.losses.polygon.rows import Rows


def nonconvexity(pairs: PolygonPairs) -> Rows:
    """Return mean_v relu(-s c_v) / A of each prediction, dimensionless: how far it turns the wrong way.

    c_v is the cross product of the two edges that meet in vertex v, s = +1 or -1 the sign of the prediction's own
    signed area (+1 where it is 0, as for a symmetric bow-tie), and A the target's area. Polygons with fewer than three
    valid vertices, or whose target is a point of area 0, do not count.
    """
    before, after = _edges(pairs.prediction, pairs.count)
    area = signed_area(pairs.prediction).detach()
    turns = cross(before, after) * torch.where(area < 0.0, -1.0, 1.0)
    loss = torch.relu(-turns).sum(dim=0) / (pairs.count.clamp(min=1) * pairs.area)
    return Rows(loss, counted=(pairs.count >= 3) & ~pairs.point)


def _edges(vertices: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return (2, V, N) twice, the edges to and from each vertex; zero in the places without one."""
    place = torch.arange(vertices.shape[1], device=vertices.device)[:, None]
    previous, following = (
        torch.where(place < count, (place + shift) % count.clamp(min=1), place).expand_as(vertices) for shift in (-1, 1)
    )
    return vertices - vertices.gather(1, previous), vertices.gather(1, following) - vertices
