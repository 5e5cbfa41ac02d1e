"""Per-task gradients as autograd made them: taken without a copy, combined in place.

A row holds the gradients of one task. It is taken from `.grad` after a backward pass: autograd hands its own tensor
over there when nobody else holds it, and copies when somebody does, so rows never alias one another or the graph. Two
leaves of one row may be given the same memory (where they are added as views of one shape): the second gets a copy.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager

import torch
from torch import Tensor

from coral_mtl.engine.arriving import fetch
from coral_mtl.engine.terms import Term

Row = dict[Tensor, Tensor]
"""Gradients by parameter; a parameter that was not reached is absent."""

CHUNK = 1 << 18
"""Entries of gradients that are summed up over all rows before the next ones are."""


def harvest(
    leaves: Sequence[Tensor],
    terms: Sequence[Term],
    seeds: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    only: bool = False,
) -> Row:
    """Run one backward pass from `terms` and take the gradients of `leaves` away, leaving every `.grad` as it was.

    With `only`, the pass goes no further than `leaves`, which then may be any tensors of the graph.
    """
    with emptied(leaves):
        return collect(leaves, terms, seeds, retain_graph=retain_graph, only=only)


@contextmanager
def emptied(leaves: Sequence[Tensor]) -> Iterator[None]:
    """Put the `.grad` of some tensors aside, for passes to be collected, and back again."""
    before = [(leaf, leaf.grad) for leaf in leaves if leaf.is_leaf and leaf.grad is not None]
    for leaf, _ in before:
        leaf.grad = None
    try:
        yield
    except BaseException:
        for leaf in leaves:  # of a pass that broke off
            leaf.grad = None
        raise
    finally:
        for leaf, gradient in before:
            leaf.grad = gradient


def collect(
    leaves: Sequence[Tensor],
    terms: Sequence[Term],
    seeds: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    only: bool = False,
) -> Row:
    """Do what `harvest` does, where every `.grad` is empty."""
    roots = [term.root for term in terms]
    inputs = leaves if only else None
    torch.autograd.backward(roots, list(seeds), retain_graph=retain_graph, inputs=inputs)  # type: ignore[arg-type]
    row: Row = {}
    places: set[int] = set()
    for leaf in leaves:
        gradient = leaf.grad
        if gradient is None:
            continue
        leaf.grad = None
        place = gradient.data_ptr() if gradient.layout is torch.strided else 0  # 0: it does not say
        row[leaf] = gradient.clone() if place and place in places else gradient
        places.add(place)
    return row


def seed(term: Term, factor: float | Tensor) -> Tensor:
    """Return the gradient with which a backward pass starts at `term`: `factor` in the shape and type of the loss."""
    if isinstance(factor, Tensor):
        return torch.ones_like(term.value) * factor
    return torch.full_like(term.value, factor)


def narrow(row: Row, shared: Set[Tensor], row_type: torch.dtype) -> Row:
    """Return the row with its shared gradients held in `row_type`; complex ones, which it cannot hold, as they are."""
    return {
        leaf: gradient.to(row_type) if leaf in shared and not gradient.is_complex() else gradient
        for leaf, gradient in row.items()
    }


def add_row(total: Row, row: Row) -> None:
    """Add `row` to `total` in place; `total` takes the tensors of parameters that it did not hold yet."""
    if not total:
        total |= row
        return
    both = [(total[leaf], gradient) for leaf, gradient in row.items() if leaf in total]
    if both:
        torch._foreach_add_([old for old, _ in both], [new for _, new in both])
    total.update((leaf, gradient) for leaf, gradient in row.items() if leaf not in total)


def leaves_of(rows: Iterable[Row]) -> list[Tensor]:
    """Return the leaves that some rows hold, each once, in the order in which the rows hold them."""
    met: Row = {}
    for row in rows:
        met |= row
    return list(met)


def nonzero_leaves(row: Row) -> list[Tensor]:
    """Return the leaves whose gradient is not zero throughout."""
    flags = fetch([gradient.any() for gradient in row.values()])
    return [leaf for leaf, nonzero in zip(row, flags, strict=True) if nonzero]


def combine(
    rows: Sequence[Row], shared: set[Tensor], coefficients: Sequence[float], head_coefficients: Sequence[float]
) -> Row:
    """Return sum_t c_t g_t for shared parameters and sum_t h_t g_t for the others, in the rows' own tensors."""
    leaves = leaves_of(rows)
    own = [leaf for leaf in leaves if leaf not in shared]
    common = [leaf for leaf in leaves if leaf in shared] if own else leaves
    return _weighted_sum(rows, common, coefficients) | _weighted_sum(rows, own, head_coefficients)


def _weighted_sum(rows: Sequence[Row], leaves: Sequence[Tensor], factors: Sequence[float]) -> Row:
    total: Row = {}
    for chosen in _chunks(leaves):
        sums: list[Tensor | None] = [None] * len(chosen)
        for row, factor in zip(rows, factors, strict=True):
            _add_multiple(sums, chosen, [row.get(leaf) for leaf in chosen], factor)
        total.update((leaf, summed) for leaf, summed in zip(chosen, sums, strict=True) if summed is not None)
    return total


def _chunks(leaves: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Deal leaves out to lists of about CHUNK entries, so that a sum over rows stays in the cache until it is done.

    On a GPU, where more calls cost more than that saves, all are one list.
    """
    chunk: list[Tensor] = []
    size = 0
    for leaf in leaves:
        chunk.append(leaf)
        size += leaf.numel() if leaf.is_cpu else 0
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _add_multiple(
    sums: list[Tensor | None], leaves: Sequence[Tensor], gradients: Sequence[Tensor | None], factor: float
) -> None:
    """Add a multiple of some leaves' gradients; a sum that was None takes the gradient's own tensor."""
    present = [(i, sums[i], gradient) for i, gradient in enumerate(gradients) if gradient is not None]
    both = [(total, gradient) for _, total, gradient in present if total is not None]
    if both and factor != 0.0:
        torch._foreach_add_([total for total, _ in both], [gradient for _, gradient in both], alpha=factor)
    first = {i: gradient.to(leaves[i].dtype) for i, total, gradient in present if total is None}  # narrower in rows
    if first and factor != 1.0:
        torch._foreach_mul_(list(first.values()), factor)
    for i, gradient in first.items():
        sums[i] = gradient


def multiply(row: Row, factor: float | Tensor) -> None:
    """Multiply a row in place."""
    if row and (isinstance(factor, Tensor) or factor != 1.0):
        torch._foreach_mul_(list(row.values()), factor)


def add_to_grad(row: Row) -> None:
    """Add gradients to `.grad`, as `Tensor.backward` does."""
    both: list[tuple[Tensor, Tensor]] = []
    for leaf, gradient in row.items():
        held = leaf.grad
        if held is None:
            leaf.grad = gradient
        else:
            both.append((held, gradient))
    if both:
        torch._foreach_add_([old for old, _ in both], [new for _, new in both])


def is_finite(row: Row) -> bool:
    """Whether all gradients of a row are finite: one pass over them, one number to the host."""
    return bool(all_finite(list(row.values()))) if row else True


def all_finite(gradients: Sequence[Tensor]) -> Tensor:
    """Whether all entries of some gradients are finite, as a tensor on the device of the first: nobody waits for it."""
    held = [entries(gradient) for gradient in gradients]
    if all(gradient.is_cpu for gradient in held):
        return _all_finite(held)
    by_device = defaultdict(list)
    for gradient in held:
        by_device[gradient.device].append(gradient)
    flags = [_all_finite(found).to(gradients[0].device, non_blocking=True) for found in by_device.values()]
    return torch.stack(flags).all()


def _all_finite(held: list[Tensor]) -> Tensor:
    """All on one device."""
    if held[0].is_cpu:  # the cheapest reading there, by an operation that CUDA does not have for bfloat16
        found, factor = (torch.full((), x, dtype=torch.float32, device="cpu") for x in (0.0, 1.0))
        torch._amp_foreach_non_finite_check_and_unscale_(held, found, factor)
        return found == 0.0
    full = [gradient for gradient in held if gradient.numel()]
    if not full:
        return torch.ones((), dtype=torch.bool, device=held[0].device)
    return torch.stack(torch._foreach_norm(full, float("inf"))).isfinite().all()


def entries(gradient: Tensor) -> Tensor:
    """The entries of a gradient as real numbers in the same memory, those that a sparse one holds."""
    if not (gradient.is_sparse or gradient.is_complex()):
        return gradient
    held = gradient._values() if gradient.is_sparse else gradient
    return torch.view_as_real(held) if held.is_complex() else held
