"""Per-task gradients as autograd made them: taken without a copy, multiplied by tiles, combined in place.

A row holds the gradients of one task. It is taken from `.grad` after a backward pass: autograd hands its own tensor
over there when nobody else holds it, and copies when somebody does, so rows never alias one another or the graph.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.terms import Term
from coral_mtl.errors import StrategyError

Row = dict[Tensor, Tensor]
"""Gradients by parameter; a parameter that was not reached is absent."""

TILE = 1 << 16
"""Coordinates of one tile: T rows of this length stay in a core's cache."""

STRIP = 1 << 10
"""Coordinates that are summed up in the tile's own type, before float64 takes over: the shorter, the more exact."""

PRECISION = {torch.float64: 1e-15, torch.float32: 1e-7}
HALF_PRECISION = 1e-6
"""Bound on the rounding error of a Gram entry M_st relative to n_s n_t, by the type of the gradients."""


def harvest(
    leaves: Iterable[Tensor],
    terms: Sequence[Term],
    seeds: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    only: bool = False,
) -> Row:
    """Run one backward pass from `terms` and take the gradients of `leaves` away, leaving every `.grad` as it was.

    With `only`, the pass goes no further than `leaves`, which then may be any tensors of the graph.
    """
    before = [(leaf, leaf.grad if leaf.is_leaf else None) for leaf in leaves]
    for leaf, _ in before:
        leaf.grad = None
    inputs = [leaf for leaf, _ in before] if only else None
    roots = [term.root for term in terms]
    try:
        torch.autograd.backward(roots, list(seeds), retain_graph=retain_graph, inputs=inputs)  # type: ignore[arg-type]
        return {leaf: leaf.grad for leaf, _ in before if leaf.grad is not None}
    finally:
        for leaf, gradient in before:
            leaf.grad = gradient


def seed(term: Term, factor: float | Tensor) -> Tensor:
    """Return the gradient with which a backward pass starts at `term`: `factor` in the shape and type of the loss."""
    if isinstance(factor, Tensor):
        return torch.ones_like(term.value) * factor
    return torch.full_like(term.value, factor)


def narrow(row: Row, shared: Set[Tensor], row_type: torch.dtype) -> Row:
    """Return the row with its shared gradients held in `row_type`."""
    return {leaf: gradient.to(row_type) if leaf in shared else gradient for leaf, gradient in row.items()}


def add_row(total: Row, row: Row) -> None:
    """Add `row` to `total` in place; `total` takes the tensors of parameters that it did not hold yet."""
    both = [(total[leaf], gradient) for leaf, gradient in row.items() if leaf in total]
    if both:
        torch._foreach_add_([old for old, _ in both], [new for _, new in both])
    total.update((leaf, gradient) for leaf, gradient in row.items() if leaf not in total)


def gram_matrix(rows: Sequence[Row], parameters: Iterable[Tensor]) -> tuple[np.ndarray, float]:
    """Return M_st = <g_s, g_t> over `parameters`, (T, T) float64, and the relative rounding error of its entries.

    Tiles of float32 are multiplied and summed up in float64; gradients so small or large that their squares leave the
    range of float32 are multiplied in float64.
    """
    groups = _groups(rows, parameters)
    precision = max((PRECISION.get(dtype, HALF_PRECISION) for _, dtype, _ in groups), default=0.0)
    gram = _sum_of_tiles(groups, len(rows), torch.float32)
    if precision > PRECISION[torch.float64] and _left_float32(np.diag(gram)):
        gram = _sum_of_tiles(groups, len(rows), torch.float64)
    return gram, precision


def inner_products(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Return <left_s, right_t> for two lists of tensors of one shape, on their device, as exact as `gram_matrix`."""
    total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left[0].device)
    sides = ([[x.reshape(-1)] for x in side] for side in (left, right))
    for ours, theirs in zip(*(_tiles(side, left[0].dtype) for side in sides), strict=True):
        total += _product(ours, theirs)
    return total


def combine(
    rows: Sequence[Row], shared: set[Tensor], coefficients: Sequence[float], head_coefficients: Sequence[float]
) -> Row:
    """Return sum_t c_t g_t for shared parameters and sum_t h_t g_t for the others, in the rows' own tensors."""
    direction: Row = {}
    for row, shared_factor, head_factor in zip(rows, coefficients, head_coefficients, strict=True):
        for factor, is_shared in ((shared_factor, True), (head_factor, False)):
            part = [leaf for leaf in row if (leaf in shared) is is_shared]
            fresh = [leaf for leaf in part if leaf not in direction]
            known = [leaf for leaf in part if leaf in direction]
            row.update((leaf, row[leaf].to(leaf.dtype)) for leaf in fresh)  # rows may be held in a narrower type
            if fresh and factor != 1.0:
                torch._foreach_mul_([row[leaf] for leaf in fresh], factor)
            if known and factor != 0.0:
                torch._foreach_add_([direction[leaf] for leaf in known], [row[leaf] for leaf in known], alpha=factor)
            direction.update((leaf, row[leaf]) for leaf in fresh)
    return direction


def multiply(row: Row, factor: float) -> None:
    """Multiply a row in place."""
    if row and factor != 1.0:
        torch._foreach_mul_(list(row.values()), factor)


def add_to_grad(row: Row) -> None:
    """Add gradients to `.grad`, as `Tensor.backward` does."""
    both = [(leaf.grad, gradient) for leaf, gradient in row.items() if leaf.grad is not None]
    if both:
        torch._foreach_add_([old for old, _ in both], [new for _, new in both])
    for leaf, gradient in row.items():
        if leaf.grad is None:
            leaf.grad = gradient


def is_finite(row: Row) -> bool:
    """Whether all gradients of a row are finite: one pass over them, one number to the host per device."""
    by_device = defaultdict(list)
    for gradient in row.values():
        by_device[gradient.device].append(gradient)
    return all(_all_finite(gradients) for gradients in by_device.values())


def _all_finite(gradients: list[Tensor]) -> bool:
    if torch.stack(torch._foreach_norm(gradients)).isfinite().all():
        return True
    return all(bool(gradient.isfinite().all()) for gradient in gradients)  # a norm may overflow where no entry does


Group = tuple[torch.device, torch.dtype, tuple[int, ...]]


def _groups(rows: Sequence[Row], parameters: Iterable[Tensor]) -> dict[Group, list[list[Tensor]]]:
    """Sort parameters by device, type and the tasks that reach them: one list of gradients per task and group."""
    groups: dict[Group, list[list[Tensor]]] = {}
    for parameter in parameters:
        found = {task: gradient for task, row in enumerate(rows) if (gradient := row.get(parameter)) is not None}
        if not found:
            continue
        reached, gradients = tuple(found), [_flat(gradient) for gradient in found.values()]
        columns = groups.setdefault((gradients[0].device, gradients[0].dtype, reached), [[] for _ in reached])
        for column, gradient in zip(columns, gradients, strict=True):
            column.append(gradient)
    return groups


def _flat(gradient: Tensor) -> Tensor:
    """View a gradient as a vector in memory order, which all rows of a parameter share (autograd's layout contract)."""
    if gradient.layout is not torch.strided:
        raise StrategyError(
            "a shared parameter has a sparse gradient, which gradient strategies cannot combine\n"
            "    build its embedding with sparse=False"
        )
    if gradient.is_complex():
        gradient = torch.view_as_real(gradient)
    if not gradient.is_contiguous():
        order = sorted(range(gradient.ndim), key=gradient.stride, reverse=True)
        gradient = gradient.permute(order)
    return gradient.reshape(-1)


def _sum_of_tiles(groups: Mapping[Group, list[list[Tensor]]], tasks: int, tile_type: torch.dtype) -> np.ndarray:
    gram = np.zeros((tasks, tasks))
    for (device, dtype, reached), columns in groups.items():
        wide = torch.float64 if dtype is torch.float64 else tile_type
        total = torch.zeros(len(reached), len(reached), dtype=torch.float64, device=device)
        with torch.autocast(device.type, enabled=False):
            for tile in _tiles(columns, wide):
                total += _product(tile, tile)
        gram[np.ix_(reached, reached)] += total.cpu().numpy()
    return (gram + gram.T) / 2


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right.T in float64, from products over strips of their columns."""
    whole = left.shape[1] // STRIP * STRIP
    rest = (left[:, whole:] @ right[:, whole:].T).double()
    return torch.bmm(_strips(left, whole), _strips(right, whole).mT).double().sum(0) + rest


def _strips(tile: Tensor, columns: int) -> Tensor:
    return tile[:, :columns].reshape(len(tile), -1, STRIP).transpose(0, 1)


def _tiles(columns: Sequence[Sequence[Tensor]], tile_type: torch.dtype) -> Iterator[Tensor]:
    """Cut (T columns of) vectors into matrices of T rows and at most TILE columns: small ones joined, big ones cut.

    All are the same memory, to be used before the next one is asked for: taking new memory for each from the system
    costs more than the products.
    """
    memory = columns[0][0].new_empty(len(columns) * TILE, dtype=tile_type)
    for pieces in _pieces([vector.numel() for vector in columns[0]]):
        width = sum(stop - start for _, start, stop in pieces)
        tile = memory[: len(columns) * width].view(len(columns), width)
        cuts = [[column[index][start:stop] for index, start, stop in pieces] for column in columns]
        yield torch.stack([cut[0] if len(cut) == 1 else torch.cat(cut) for cut in cuts], out=tile)


def _pieces(lengths: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """Deal vectors of these lengths out to tiles: (vector, start, stop) of each piece of a tile."""
    pending: list[tuple[int, int, int]] = []
    room = TILE
    for index, length in enumerate(lengths):
        if length >= TILE:
            yield from ([(index, start, min(start + TILE, length))] for start in range(0, length, TILE))
            continue
        if length > room:
            yield pending
            pending, room = [], TILE
        pending.append((index, 0, length))
        room -= length
    if pending:
        yield pending


def _left_float32(squares: np.ndarray) -> bool:
    """Whether a squared norm is beyond float32 or so small that the squares of its coordinates may have vanished."""
    return not np.isfinite(squares).all() or bool((squares < 1e-24).any())
