"""What `Engine.backward` is given: named scalar losses, each with the point of the autograd graph where it starts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from coral_mtl.errors import StrategyError

Losses = Mapping[str, Tensor] | Sequence[Tensor] | Tensor


class Term(NamedTuple):
    """One task's loss: its name, its detached value, and its root in the graph (None for a constant)."""

    name: str
    value: Tensor
    root: Tensor | GradientEdge | None

    @property
    def node(self) -> Node | None:
        """The graph node where the loss starts; None for a constant."""
        if isinstance(self.root, Tensor):
            return self.root.grad_fn or get_gradient_edge(self.root).node  # a loss may be a parameter itself
        return None if self.root is None else self.root.node


def named_terms(losses: Losses, tasks: Sequence[str] | None) -> list[Term]:
    """Turn the losses of one step into terms.

    A mapping names its tasks itself. A sequence, or a tensor made by `torch.stack`, takes its names from `tasks`, or
    "task_0", "task_1", ... A stacked tensor is taken apart through its graph edges: differentiating its entries would
    run every task's head for each of them.

    Raises:
        StrategyError: no loss at all, a loss that is not a real scalar, an unknown task, a wrong number of losses, or a
            stacked tensor that something was done to after stacking.
    """
    if isinstance(losses, Mapping):
        terms = [_term(name, loss) for name, loss in losses.items()]
    elif isinstance(losses, Tensor):
        terms = _unstacked(losses, tasks)
    else:
        terms = [_term(name, loss) for name, loss in zip(_names(len(losses), tasks), losses, strict=True)]
    if not terms:
        raise StrategyError("no losses were given: backward needs at least one named scalar loss")
    unknown = [term.name for term in terms if tasks is not None and term.name not in tasks]
    if unknown:
        raise StrategyError(
            f"unknown task {unknown[0]!r}: this engine was built for the tasks {', '.join(tasks or ())}"
        )
    return terms


def _names(count: int, tasks: Sequence[str] | None) -> list[str]:
    if tasks is None:
        return [f"task_{index}" for index in range(count)]
    if len(tasks) != count:
        raise StrategyError(f"{count} losses were given without names, but there are {len(tasks)} tasks: pass a dict")
    return list(tasks)


def _term(name: str, loss: Tensor) -> Term:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise StrategyError(f"the loss of task {name!r} is not a real scalar tensor but {shape}: reduce it with mean()")
    return Term(name, loss.detach(), loss if loss.requires_grad else None)


def _unstacked(losses: Tensor, tasks: Sequence[str] | None) -> list[Term]:
    stack = losses.grad_fn
    if losses.ndim != 1 or stack is None or not stack.name().startswith("StackBackward"):
        raise StrategyError(
            "cannot take these losses apart: a tensor of losses must come straight from torch.stack\n"
            "    pass a dict {task: scalar loss} instead"
        )
    names = _names(len(losses), tasks)
    edges = [None if node is None else GradientEdge(node, index) for node, index in stack.next_functions]
    return [Term(*parts) for parts in zip(names, losses.detach().unbind(), edges, strict=True)]
