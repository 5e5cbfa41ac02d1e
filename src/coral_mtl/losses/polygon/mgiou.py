"""MGIoU: the mean over directions of how well two shapes' shadows coincide."""

import torch
from torch import Tensor

from coral_mtl.losses.polygon.pairs import PolygonPairs, mean_vertex
from coral_mtl.losses.polygon.rows import Rows
from coral_mtl.losses.polygon.shadows import shadow_overlap

SHORTEST_EDGE = 1e-6
"""Edges up to this share of the longest of a pair have no direction worth the name: their axes are left out."""


def mgiou(pairs: PolygonPairs) -> Rows:
    """Return (1 - MGIoU) / 2, in [0, 1) (Le et al. 2025, arXiv 2504.16443, section 3).

    On the normal a of every edge of both shapes, vertices project to the intervals [p0, p1] and [t0, t1], and

        g_a = (min(p1, t1) - max(p0, t0)) / (max(p1, t1) - min(p0, t0)),    MGIoU = mean_a g_a,

    which in one dimension is GIoU exactly: IoU where the intervals meet, and minus the gap over the hull where they do
    not. Axes of repeated vertices are left out, so gradients are finite there too. Edges are taken in the order of the
    vertices' angles around their mean. The same for both shapes swapped, for a convex shape's vertices in any order,
    and for any affine map of both.

    It sees convex hulls: a prediction that crosses itself over the target's hull has loss 0, and vertices inside a hull
    get no gradient. Shapes of more than four vertices need a companion, such as `nonconvexity` or a little `l2`. It
    overrates the IoU (touching squares have 0.25), so report `PolygonIoU`. It is no metric: the triangle inequality can
    fail.

    Polygons with fewer than three valid vertices or a degenerate target do not count.
    """
    prediction, target = pairs.prediction, pairs.target
    normals = [_edge_normals(shape, pairs.count) for shape in (prediction, target)]
    overlap = torch.cat([shadow_overlap(prediction, target, axes) for axes in normals])
    left_out = _without_direction(torch.cat(normals, dim=1).detach())
    kept = (~left_out).sum(dim=0).clamp(min=1)
    similarity = torch.where(left_out, 0.0, overlap).sum(dim=0) / kept
    return Rows((1.0 - similarity) / 2.0, counted=(pairs.count >= 3) & ~pairs.degenerate)


def _edge_normals(vertices: Tensor, count: Tensor) -> Tensor:
    """Return (2, V, N), the normals of the edges between vertices in the order of their angles around the mean."""
    x, y = (vertices - mean_vertex(vertices, count)).detach()
    order = torch.atan2(y, x).T.contiguous().argsort(dim=1).T
    ordered = vertices.gather(1, order.expand_as(vertices))
    edges = ordered.roll(-1, dims=1) - ordered
    return torch.stack([edges[1], -edges[0]])


def _without_direction(axes: Tensor) -> Tensor:
    """Return (A, N), which axes have no length beside the longest of their pair."""
    squares = axes.square().sum(dim=0)
    return squares <= SHORTEST_EDGE**2 * squares.amax(dim=0)
