"""Walks over an autograd graph: from losses to the tensors that accumulate gradients."""

from collections.abc import Iterable, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from coral_mtl.engine.terms import Term

AccumulateGrad: Any = torch._C._functions.AccumulateGrad  # type: ignore[attr-defined]
"""The type of a node where a gradient arrives; it knows its tensor as `variable`."""

COMPILED = "CompiledFunction"
"""The kind of a node that torch.compile made: its backward pass returns zeros for what a loss does not reach."""


def behind(terms: Iterable[Term], stop: Set[Node] = frozenset()) -> list[Node]:
    """Return the nodes behind some losses, their roots included, each once; those in `stop` and beyond are left out."""
    nodes = list(dict.fromkeys(term.node for term in terms if term.node is not None and term.node not in stop))
    seen = {*stop, *nodes}
    for node in nodes:  # which grows on the way
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                nodes.append(child)
    return nodes


def leaves_among(nodes: Iterable[Node]) -> list[Tensor]:
    """Return the tensors whose gradients some nodes accumulate."""
    return [node.variable for node in nodes if type(node) is AccumulateGrad]  # type: ignore[attr-defined]


def uses_of_leaves(nodes: Iterable[Node]) -> dict[Tensor, int]:
    """Return how many edges lead from some nodes to each leaf."""
    uses: dict[Tensor, int] = {}
    for node in nodes:
        for child, _ in node.next_functions:
            if type(child) is AccumulateGrad:
                leaf = child.variable  # type: ignore[union-attr]
                uses[leaf] = uses.get(leaf, 0) + 1
    return uses


def is_any(nodes: Iterable[Node], kind: str) -> bool:
    """Whether one of some nodes is of a kind, such as "Checkpoint", by its name."""
    return any(kind in found.__name__ for found in {type(node) for node in nodes})


class Trace:
    """One walk over the graph of some losses: which tasks reach each node, and which parameters lie behind it.

    With `heads_only` it ends where tasks meet, so that a step which needs no more than the heads does not pay for a
    walk through the trunk.

    children: the nodes that each node hands gradients on to, one per edge; parents come before their children, leaves
        aside. A node where the walk ended is no key.
    reached: the tasks that reach each node, a bit per task.
    leaves: the leaf tensor of each node that accumulates a gradient.
    """

    def __init__(self, terms: Sequence[Term], *, heads_only: bool = False) -> None:
        self.heads_only = heads_only
        roots: dict[Node, int] = {}
        for position, term in enumerate(terms):
            if term.node is not None:
                roots[term.node] = roots.get(term.node, 0) | 1 << position
        self.children, self.reached = _heads(roots) if heads_only else _everything(roots)
        self.leaves = {node: node.variable for node, found in self.children.items() if found is ACCUMULATES}  # type: ignore[attr-defined]

    def met(self) -> list[Tensor]:
        """The leaves that two tasks or more reach."""
        return [leaf for node, leaf in self.leaves.items() if self.reached[node].bit_count() > 1]

    def trunk(self, shared: set[Tensor]) -> set[Node]:
        """Return the nodes behind which lie shared parameters only; where the walk ended, tasks had met."""
        trunk = self.reached.keys() - self.children.keys()
        trunk |= {node for node, leaf in self.leaves.items() if leaf in shared}
        for node, children in reversed(self.children.items()):
            if node not in self.leaves and trunk.issuperset(children):
                trunk.add(node)
        return trunk


Children = dict[Node, list[Node]]

ACCUMULATES: list[Node] = []
"""What is behind a node that accumulates a gradient: nothing."""


def _everything(roots: Mapping[Node, int]) -> tuple[Children, dict[Node, int]]:
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
            elif node not in children:
                children[node] = ACCUMULATES if type(node) is AccumulateGrad else _children(node)
                path.append(node)
                ahead += [None, *children[node]]
    reached = {node: roots.get(node, 0) for node in reversed(finished)}
    for node, tasks in reached.items():
        for child in children[node]:
            reached[child] |= tasks
    return {node: children[node] for node in reached}, reached


def _heads(roots: Mapping[Node, int]) -> tuple[Children, dict[Node, int]]:
    """Walk from the latest node of the forward pass to earlier ones, and not beyond nodes that several tasks reach."""
    reached = dict(roots)
    children: Children = {node: ACCUMULATES for node in roots if type(node) is AccumulateGrad}
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
            if type(child) is AccumulateGrad:
                children[child] = ACCUMULATES
            else:
                heappush(ahead, (-child._sequence_nr(), len(reached), child))
    return children, reached


def _children(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]
