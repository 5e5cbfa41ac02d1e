"""How well the shadows of two shapes coincide on given axes, with its gradient written out.

A pair of octagons has 256 products of a vertex and an axis. Autograd would keep several copies of them all and spend
most of its time on the ties of minima; here they are made twice and never kept, which is several times as fast.
Tensors have the pairs last, because reductions over the first dimensions of such tensors are the quick ones.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def shadow_overlap(first: Tensor, second: Tensor, axes: Tensor) -> Tensor:
    """Return (A, N), the signed overlap (min(p1, t1) - max(p0, t0)) / (max(p1, t1) - min(p0, t0)) on each axis.

    [p0, p1] and [t0, t1] are the intervals that the vertices of the two shapes project to; 0 where both are one point.
    The gradient goes to all vertices that share an extreme, in equal parts; it cannot be differentiated again.

    Args:
        first: (2, V, N) vertices of the first shape of each pair.
        second: (2, W, N) vertices of the second.
        axes: (2, A, N) directions of any length.
    """
    overlap: Tensor = _ShadowOverlap.apply(first, second, axes)
    return overlap


class _ShadowOverlap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, axes: Tensor) -> Tensor:
        p0, p1 = _extremes(_products(first, axes))
        t0, t1 = _extremes(_products(second, axes))
        hull = torch.maximum(p1, t1) - torch.minimum(p0, t0)
        hull = torch.where(hull == 0.0, 1.0, hull)
        overlap = (torch.minimum(p1, t1) - torch.maximum(p0, t0)) / hull
        ctx.save_for_backward(first, second, axes, p0, p1, t0, t1, hull, overlap)
        return overlap

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        first, second, axes, p0, p1, t0, t1, hull, overlap = ctx.saved_tensors
        inner = gradient / hull  # with respect to the numerator
        outer = -inner * overlap  # with respect to the hull
        p1_inside = (1.0 + torch.sign(t1 - p1)) / 2.0  # 1/2 where both end together
        p0_inside = (1.0 + torch.sign(p0 - t0)) / 2.0
        to_p0 = -(inner * p0_inside + outer * (1.0 - p0_inside))
        to_p1 = inner * p1_inside + outer * (1.0 - p1_inside)
        to_t0 = -(inner + outer) - to_p0
        to_t1 = inner + outer - to_p1
        wanted = ctx.needs_input_grad
        of_first, axes_by_first = _spread(first, axes, (p0, p1), (to_p0, to_p1), (wanted[0], wanted[2]))
        of_second, axes_by_second = _spread(second, axes, (t0, t1), (to_t0, to_t1), (wanted[1], wanted[2]))
        of_axes = None if axes_by_first is None or axes_by_second is None else axes_by_first + axes_by_second
        return of_first, of_second, of_axes


def _products(vertices: Tensor, axes: Tensor) -> Tensor:
    """Return (V, A, N), each vertex along each axis."""
    products = vertices[0, :, None] * axes[0]  # no matrix product: autocast would round it to half precision
    return products.addcmul_(vertices[1, :, None].expand_as(products), axes[1].expand_as(products))


def _extremes(products: Tensor) -> tuple[Tensor, Tensor]:
    return products.amin(dim=0), products.amax(dim=0)


def _spread(
    vertices: Tensor,
    axes: Tensor,
    extremes: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of a shape's vertices and of the axes, from those of the shape's two extremes."""
    if not any(wanted):
        return None, None
    products = _products(vertices, axes)
    shares, reached = torch.zeros_like(products), torch.empty_like(products)
    for extreme, gradient in zip(extremes, gradients, strict=True):
        torch.eq(products, extreme, out=reached)
        shares += reached.mul_(gradient / reached.sum(dim=0))
    of_vertices, of_axes = None, None
    if wanted[0]:
        of_vertices = torch.stack([torch.mul(shares, axes[c], out=products).sum(dim=1) for c in (0, 1)])
    if wanted[1]:
        of_axes = torch.stack([torch.mul(shares, vertices[c, :, None], out=products).sum(dim=0) for c in (0, 1)])
    return of_vertices, of_axes
