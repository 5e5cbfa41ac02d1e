"""Which parameters are shared, and whose the others are.

A parameter is shared when two tasks or more have reached it with a gradient, at this step or before. That needs no
help from the user, and is right with tied weights, with heads that several tasks use, and for tasks that come and go.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from coral_mtl.engine.terms import Term


class Sharing:
    """Who reaches which parameter, learned from the rows themselves, unless the user said it."""

    def __init__(self, parameters: Mapping[str, Tensor], shared: Iterable[Tensor] | None) -> None:
        self._parameters = parameters
        self._names = {parameter: name for name, parameter in parameters.items()}
        self._given = None if shared is None else set(shared)
        self._owner: dict[Tensor, str] = {}
        self._shared: set[Tensor] = set()
        self.closed = False
        """Whether the last walk through a whole graph met no leaf but the model's own parameters."""

    def learn(self, reached: Mapping[str, Iterable[Tensor]]) -> set[Tensor]:
        """Take note of who reached what, and return the parameters that are shared as far as is known now.

        Tensors that are not parameters of the model (inputs that require a gradient) are judged by this step alone.
        """
        strangers: dict[Tensor, str] = {}
        shared: set[Tensor] = set()
        for task, parameters in reached.items():
            for parameter in parameters:
                known = parameter in self._names
                if (self._owner if known else strangers).setdefault(parameter, task) != task:
                    (self._shared if known else shared).add(parameter)
        return self._given if self._given is not None else self._shared | shared

    def settle(self, shared: Iterable[Tensor]) -> None:
        """Take these parameters and no others for shared from here on."""
        self._given = set(shared)

    def shared_in(self, trace: "Trace") -> set[Tensor]:
        """The shared parameters, where those that no row has shown yet are judged by the structure of this graph."""
        if self._given is not None:
            return self._given
        return self._shared | {leaf for leaf in trace.met() if leaf not in self._owner}

    def complete_in(self, trace: "Trace") -> bool:
        """Whether the heads alone show all parameters that belong to one task, so that all behind them are shared."""
        visible = set(trace.leaves.values())
        new = any(leaf in self._names and leaf not in self._owner for leaf in visible)
        return self._given is None and not new and self.own <= visible

    def trainable(self) -> list[Tensor]:
        """The model's parameters that require a gradient now."""
        return [parameter for parameter in self._parameters.values() if parameter.requires_grad]

    @property
    def shared(self) -> set[Tensor]:
        """The parameters known to be shared."""
        return self._shared if self._given is None else self._given

    def owner(self, parameter: Tensor) -> str | None:
        """The task that `parameter` belongs to; None for a shared or an unknown one."""
        return None if parameter in self.shared else self._owner.get(parameter)

    @property
    def own(self) -> set[Tensor]:
        """The parameters that one task alone has reached so far."""
        return self._owner.keys() - self.shared

    def names(self, parameters: Iterable[Tensor]) -> list[str]:
        """The names of `parameters`; tensors that the model does not know are called "leaf_0", "leaf_1", in order."""
        strangers = count()
        return [self._names.get(parameter) or f"leaf_{next(strangers)}" for parameter in parameters]

    def shared_names(self) -> list[str]:
        """Names of the shared parameters, in the model's order."""
        return [name for name, parameter in self._parameters.items() if parameter in self.shared]

    def task_names(self) -> dict[str, list[str]]:
        """Names of each task's own parameters, in the model's order."""
        own: dict[str, list[str]] = {}
        for name, parameter in self._parameters.items():
            if parameter in self._owner and parameter not in self.shared:
                own.setdefault(self._owner[parameter], []).append(name)
        return own

    def state_dict(self) -> dict[str, Any]:
        """The owner of each parameter by name, "" for a shared one; and the shared ones where they are settled."""
        return {
            "owner": {self._names[p]: "" if p in self._shared else task for p, task in self._owner.items()},
            "settled": None if self._given is None else [self._names[p] for p in self._given if p in self._names],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; parameters that no longer exist are left out."""
        owners = {self._parameters[n]: task for n, task in state["owner"].items() if n in self._parameters}
        self._owner = owners
        self._shared = {parameter for parameter, task in owners.items() if not task}
        if self._given is None and state["settled"] is not None:
            self.settle(self._parameters[name] for name in state["settled"] if name in self._parameters)


class Trace:
    """One walk over the graph of some losses: which tasks reach each node, and which parameters lie behind it.

    The walk does not go beyond the nodes in `stop`. With `heads_only` it ends where tasks meet, so that a step which
    needs no more than the heads does not pay for a walk through the trunk.

    children: the nodes that each node hands gradients on to, one per edge; parents come before their children. A node
        where the walk ended is no key.
    reached: the tasks that reach each node, a bit per task.
    leaves: the leaf tensor of each node that accumulates a gradient.
    """

    def __init__(self, terms: Sequence[Term], stop: Set[Node] = frozenset(), *, heads_only: bool = False) -> None:
        self.heads_only = heads_only
        roots: dict[Node, int] = {}
        for position, term in enumerate(terms):
            if term.node is not None:
                roots[term.node] = roots.get(term.node, 0) | 1 << position
        self.children, self.reached = _heads(roots) if heads_only else _everything(roots, stop)
        self.leaves = {node: node.variable for node, behind in self.children.items() if behind is ACCUMULATES}  # type: ignore[attr-defined]

    def met(self) -> list[Tensor]:
        """The leaves that two tasks or more reach."""
        return [leaf for node, leaf in self.leaves.items() if self.reached[node].bit_count() > 1]

    @property
    def compiled(self) -> bool:
        """Whether torch.compile made a part of the graph, whose backward pass returns zeros for what is not reached."""
        return any("CompiledFunction" in node.name() for node in self.reached)

    def uses_of_leaves(self) -> dict[Tensor, int]:
        """How many edges of the graph lead to each leaf."""
        uses = dict.fromkeys(self.leaves.values(), 0)
        for children in self.children.values():
            for child in children:
                if child in self.leaves:
                    uses[self.leaves[child]] += 1
        return uses

    def all_leaves(self, sharing: Sharing) -> list[Tensor]:
        """The model's parameters that require a gradient, and any other leaf that the walk met."""
        leaves = list(dict.fromkeys([*sharing.trainable(), *self.leaves.values()]))
        if not self.heads_only:
            sharing.closed = len(leaves) == len(sharing.trainable())
        return leaves

    def trunk(self, shared: set[Tensor]) -> set[Node]:
        """Return the nodes behind which lie shared parameters only; where the walk ended, tasks had met."""
        trunk = self.reached.keys() - self.children.keys()
        for node, children in reversed(self.children.items()):
            leaf = self.leaves.get(node)
            if leaf in shared if leaf is not None else trunk.issuperset(children):
                trunk.add(node)
        return trunk


Children = dict[Node, list[Node]]

ACCUMULATES: list[Node] = []
"""What is behind a node that accumulates a gradient: nothing."""

ACCUMULATION = 2**64 - 1
"""The number of such a node, by which it runs before all others."""


def _everything(roots: Mapping[Node, int], stop: Set[Node]) -> tuple[Children, dict[Node, int]]:
    """Walk depth-first (iteratively: graphs are deep), then hand the tasks on from parents to children."""
    children: Children = {}
    finished: list[Node] = []
    for root in roots:
        ahead: list[Node | None] = [root]
        path: list[Node] = []
        while ahead:
            node = ahead.pop()
            if node is None:  # all behind the last node of the path is finished
                finished.append(path.pop())
            elif node not in children and node not in stop:
                children[node] = ACCUMULATES if node._sequence_nr() == ACCUMULATION else _children(node)
                path.append(node)
                ahead += [None, *children[node]]
    reached = {node: roots.get(node, 0) for node in reversed(finished)}
    for node, tasks in reached.items():
        for child in children[node]:
            if child in reached:
                reached[child] |= tasks
    return {node: children[node] for node in reached}, reached


def _heads(roots: Mapping[Node, int]) -> tuple[Children, dict[Node, int]]:
    """Walk from the latest node of the forward pass to earlier ones, and not beyond nodes that several tasks reach."""
    reached = dict(roots)
    children: Children = {node: ACCUMULATES for node in roots if node._sequence_nr() == ACCUMULATION}
    ahead = [(-node._sequence_nr(), place, node) for place, node in enumerate(roots) if node not in children]
    heapify(ahead)
    while ahead:
        node = heappop(ahead)[2]
        tasks = reached[node]
        if tasks & (tasks - 1):  # several
            continue
        children[node] = found = _children(node)
        for child in found:
            known = reached.get(child)
            reached[child] = tasks if known is None else known | tasks
            if known is not None:
                continue
            number = child._sequence_nr()
            if number == ACCUMULATION:
                children[child] = ACCUMULATES
            else:
                heappush(ahead, (-number, len(reached), child))
    return children, reached


def _children(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]
