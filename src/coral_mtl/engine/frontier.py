"""One backward pass that gives shared parameters sum_t c_t g_t and leaves the tasks' own parameters their own gradient.

There are three ways to it, of which the first that is possible is taken:

1. Loss t starts with c_t, and what its own parameters got is multiplied by h_t / c_t, where they are few, and neither
   the factors nor the quotients cost exactness.
2. Loss t starts with the factor h_t that its own parameters are to see. Where its gradient enters the trunk, the part
   of the graph behind which lie shared parameters only, it is multiplied by c_t / h_t. These entries are the frontier;
   hooks on their nodes do the multiplication, on tensors of the size of activations.
3. Two passes, one with c_t and one with h_t.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from coral_mtl.engine.graph import Trace
from coral_mtl.engine.rows import Row, harvest, seed
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.terms import Term

Gradients = tuple[Tensor | None, ...]

HARMLESS = 2.0**6
"""Largest quotient of two factors by which gradients are multiplied afterwards: float16 loses no more of its range."""

FEW = 1 << 19
"""Entries of a task's own parameters up to which multiplying their gradients is cheaper than multiplying activations"""


def backward_known(
    terms: Sequence[Term],
    shared_factors: Sequence[float],
    own_factors: Sequence[float],
    sharing: Sharing,
    scale: float | Tensor,
) -> Row:
    """Return sum_t c_t g_t for shared parameters and sum_t h_t g_t for the others, from one backward pass.

    Where one pass cannot do it (two tasks meet before the trunk, because `shared=` names fewer parameters than the
    tasks share, or reentrant checkpointing hides a task's own parameters), two passes do the same.

    Args:
        terms: the losses, none of them constant.
        shared_factors: c_t.
        own_factors: h_t.
        sharing: which parameters are shared.
        scale: a factor on everything, such as a GradScaler's.
    """
    trace = Trace(terms, heads_only=sharing.closed)
    same = list(shared_factors) == list(own_factors)
    if not same and trace.heads_only and not sharing.complete_in(trace):
        trace = Trace(terms)
    leaves = sharing.leaves(trace.leaves.values(), everywhere=not trace.heads_only)
    if same:
        return harvest(leaves, terms, _seeds(terms, own_factors, scale))
    parameters = sharing.shared_in(trace)
    hidden = _hides_own_parameters(trace, sharing)
    own = None if hidden else _own_leaves(trace, parameters, len(terms))
    if own is not None and _may_follow(shared_factors, own_factors, own) and _hold_factors(terms, own):
        row = harvest(leaves, terms, _seeds(terms, shared_factors, scale))
        _rescale(row, own, shared_factors, own_factors)
        return row
    trunk = trace.trunk(parameters)
    if hidden or not _separable(trace, trunk, shared_factors, own_factors):
        shared = harvest(leaves, terms, _seeds(terms, shared_factors, scale), retain_graph=True)
        rest = harvest(leaves, terms, _seeds(terms, own_factors, scale))
        return rest | {leaf: gradient for leaf, gradient in shared.items() if leaf in parameters}
    hooks = _scale_entries(trace, trunk, shared_factors, own_factors)
    starts = [c if t.node in trunk else h for t, c, h in zip(terms, shared_factors, own_factors, strict=True)]
    try:
        return harvest(leaves, terms, _seeds(terms, starts, scale))
    finally:
        for hook in hooks:
            hook.remove()


def _seeds(terms: Sequence[Term], factors: Sequence[float], scale: float | Tensor) -> list[Tensor]:
    if isinstance(scale, Tensor):  # whose product with a factor would be rounded in its type, not in the loss's
        return [seed(term, scale) * factor for term, factor in zip(terms, factors, strict=True)]
    return [seed(term, scale * factor) for term, factor in zip(terms, factors, strict=True)]


def _hides_own_parameters(trace: Trace, sharing: Sharing) -> bool:
    """Whether a task's own parameter is out of sight, behind a node that computes its part of the graph anew."""
    return not sharing.own <= set(trace.leaves.values()) and any("Checkpoint" in n.name() for n in trace.children)


def _own_leaves(trace: Trace, shared: set[Tensor], tasks: int) -> list[list[Tensor]] | None:
    """Each task's own leaves; None where several tasks reach a leaf that is not shared."""
    own: list[list[Tensor]] = [[] for _ in range(tasks)]
    for node, leaf in trace.leaves.items():
        if leaf in shared:
            continue
        if trace.reached[node].bit_count() > 1:
            return None
        own[trace.reached[node].bit_length() - 1].append(leaf)
    return own


def _may_follow(shared_factors: Sequence[float], own_factors: Sequence[float], own: Sequence[Sequence[Tensor]]) -> bool:
    """Whether own factors may be multiplied in afterwards."""
    pairs = zip(shared_factors, own_factors, strict=True)
    harmless = all(abs(h) <= HARMLESS * abs(c) <= HARMLESS**2 * abs(h) for c, h in pairs)
    return harmless and sum(leaf.numel() for leaves in own for leaf in leaves) <= FEW * len(own)


def _hold_factors(terms: Sequence[Term], own: Sequence[Sequence[Tensor]]) -> bool:
    """Whether a factor with which a loss starts is as exact as the gradients of its own parameters."""
    kinds = {leaf.dtype for leaves in own for leaf in leaves}
    finest = min((torch.finfo(kind).eps for kind in kinds), default=1.0)
    return all(torch.finfo(kind).eps <= finest for kind in {term.value.dtype for term in terms})


def _rescale(
    row: Row, own: Sequence[Sequence[Tensor]], shared_factors: Sequence[float], own_factors: Sequence[float]
) -> None:
    quotients = [h / c for c, h in zip(shared_factors, own_factors, strict=True)]
    due = [(row[leaf], q) for leaves, q in zip(own, quotients, strict=True) for leaf in leaves if leaf in row]
    if due:
        torch._foreach_mul_([gradient for gradient, _ in due], [quotient for _, quotient in due])


def _separable(trace: Trace, trunk: set[Node], shared_factors: Sequence[float], own_factors: Sequence[float]) -> bool:
    """Whether every node before the trunk belongs to one task, and what starts at a loss can be multiplied later."""
    if any(c and not h for c, h in zip(shared_factors, own_factors, strict=True)):
        return False
    return all(trace.reached[node].bit_count() == 1 for node in trace.children if node not in trunk)


def _scale_entries(
    trace: Trace, trunk: set[Node], shared_factors: Sequence[float], own_factors: Sequence[float]
) -> list:
    hooks = []
    for node, children in trace.children.items():
        if node in trunk or trunk.isdisjoint(children):
            continue
        entries = {i for i, (child, _) in enumerate(node.next_functions) if child in trunk}
        task = trace.reached[node].bit_length() - 1
        ratio = shared_factors[task] / own_factors[task] if own_factors[task] else 0.0
        hooks.append(node.register_hook(_multiply(entries, ratio)))
    return hooks


def _multiply(entries: set[int], factor: float) -> Callable[[Gradients, Gradients], Gradients]:
    def hook(inputs: Gradients, _: Gradients) -> Gradients:
        scaled = list(inputs)
        for entry in entries:
            gradient = inputs[entry]
            scaled[entry] = None if gradient is None else gradient * factor
        return tuple(scaled)

    return hook
