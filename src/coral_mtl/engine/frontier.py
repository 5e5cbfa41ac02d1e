"""One backward pass that gives shared parameters sum_t c_t g_t and leaves the tasks' own parameters their own gradient.

The pass starts at loss t with the factor h_t that its own parameters are to see. Where its gradient enters the trunk,
the part of the graph behind which lie shared parameters only, it is multiplied by c_t / h_t. These entries are the
frontier; hooks on their nodes do the multiplication, on tensors of the size of activations.
"""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.autograd.graph import Node

from coral_mtl.engine.graph import Trace, is_any
from coral_mtl.engine.rows import Row, harvest, seed
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.terms import Term

Gradients = tuple[Tensor | None, ...]


def backward_known(
    terms: Sequence[Term],
    shared_factors: Sequence[float],
    own_factors: Sequence[float],
    sharing: Sharing,
    scale: float | Tensor,
) -> Row:
    """Return sum_t c_t g_t for shared parameters and sum_t h_t g_t for the others, from one backward pass.

    Where one pass cannot do it (two tasks meet before the trunk, because `shared=` names fewer parameters than the
    tasks share; reentrant checkpointing hides parameters; or h_t is 0 and c_t is not), two passes do the same.

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
    trunk = trace.trunk(parameters)
    startable = all(h or not c for c, h in zip(shared_factors, own_factors, strict=True))
    if not (startable and _separable(trace, trunk, sharing)):
        shared = harvest(leaves, terms, _seeds(terms, shared_factors, scale), retain_graph=True)
        own = harvest(leaves, terms, _seeds(terms, own_factors, scale))
        return own | {leaf: gradient for leaf, gradient in shared.items() if leaf in parameters}
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


def _separable(trace: Trace, trunk: set[Node], sharing: Sharing) -> bool:
    """Whether every node before the trunk belongs to one task, and no node hides parameters of the other kind.

    Reentrant checkpointing makes a node behind which nobody sees what its part of the graph uses.
    """
    before = [node for node in trace.children if node not in trunk]
    if any(trace.reached[node].bit_count() > 1 for node in before) or is_any(before, "Checkpoint"):
        return False
    return sharing.own <= set(trace.leaves.values()) or not is_any(trace.children, "Checkpoint")


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
