"""Per-task gradients as autograd made them: taken without a copy, combined in place.

A row holds the gradients of one task. It is taken from `.grad` after a backward pass: autograd hands its own tensor
over there when nobody else holds it, and copies when somebody does, so rows never alias one another or the graph.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

import torch
from torch import Tensor

from coral_mtl.engine.terms import Term

Row = dict[Tensor, Tensor]
"""Gradients by parameter; a parameter that was not reached is absent."""


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
    targets = list(leaves)
    before = {leaf: leaf.grad for leaf in targets if leaf.is_leaf and leaf.grad is not None}
    for leaf in before:
        leaf.grad = None
    inputs = targets if only else None
    roots = [term.root for term in terms]
    try:
        torch.autograd.backward(roots, list(seeds), retain_graph=retain_graph, inputs=inputs)  # type: ignore[arg-type]
        return {leaf: gradient for leaf in targets if (gradient := leaf.grad) is not None}
    finally:
        for leaf in targets:
            leaf.grad = None
        for leaf, gradient in before.items():
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


def combine(
    rows: Sequence[Row], shared: set[Tensor], coefficients: Sequence[float], head_coefficients: Sequence[float]
) -> Row:
    """Return sum_t c_t g_t for shared parameters and sum_t h_t g_t for the others, in the rows' own tensors."""
    direction: Row = {}
    for row, shared_factor, own_factor in zip(rows, coefficients, head_coefficients, strict=True):
        parts: tuple[Row, Row] = {}, {}
        for leaf, gradient in row.items():
            parts[leaf in shared][leaf] = gradient
        _add_multiple(direction, parts[False], own_factor)
        _add_multiple(direction, parts[True], shared_factor)
    return direction


def _add_multiple(direction: Row, row: Row, factor: float) -> None:
    """Add a multiple of a row, whose tensors `direction` takes where it held none."""
    totals = [direction.get(leaf) for leaf in row]
    both = [(total, gradient) for total, gradient in zip(totals, row.values(), strict=True) if total is not None]
    if both and factor != 0.0:
        torch._foreach_add_([old for old, _ in both], [new for _, new in both], alpha=factor)
    fresh = {  # rows may be held in a narrower type
        leaf: gradient.to(leaf.dtype)
        for (leaf, gradient), total in zip(row.items(), totals, strict=True)
        if total is None
    }
    multiply(fresh, factor)
    direction.update(fresh)


def multiply(row: Row, factor: float | Tensor) -> None:
    """Multiply a row in place."""
    if row and (isinstance(factor, Tensor) or factor != 1.0):
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
    """Whether all gradients of a row are finite: one pass over them, one number to the host."""
    return bool(all_finite(list(row.values()))) if row else True


def all_finite(gradients: Sequence[Tensor]) -> Tensor:
    """Whether all entries of some gradients are finite, as a tensor on the device of the first: nobody waits for it."""
    by_device = defaultdict(list)
    for gradient in gradients:
        by_device[gradient.device].append(gradient)
    flags = [_all_finite(found).to(gradients[0].device, non_blocking=True) for found in by_device.values()]
    return flags[0] if len(flags) == 1 else torch.stack(flags).all()


def _all_finite(gradients: list[Tensor]) -> Tensor:
    """All on one device."""
    held = [kept for gradient in gradients if (kept := entries(gradient)).numel()]
    if gradients[0].is_cpu:  # the cheapest reading there, by an operation that CUDA does not have for bfloat16
        found = torch.zeros(())
        torch._amp_foreach_non_finite_check_and_unscale_(held, found, torch.ones(()))
        return found == 0.0
    norms = torch._foreach_norm(held, float("inf")) if held else [torch.zeros((), device=gradients[0].device)]
    return torch.stack(norms).isfinite().all()


def entries(gradient: Tensor) -> Tensor:
    """The entries of a gradient as real numbers in the same memory, those that a sparse one holds."""
    held = gradient._values() if gradient.is_sparse else gradient
    return torch.view_as_real(held) if held.is_complex() else held
