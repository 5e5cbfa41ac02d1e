"""Which parameters are shared, and whose the others are.

A parameter is shared when two tasks or more have reached it with a gradient, at this step or before. That needs no
help from the user, and is right with tied weights, with heads that several tasks use, and for tasks that come and go.
"""

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from torch import Tensor

from coral_mtl.engine.graph import Trace


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
                if parameter in self._shared:
                    continue
                known = parameter in self._names
                if (self._owner if known else strangers).setdefault(parameter, task) != task:
                    (self._shared if known else shared).add(parameter)
        return self._given if self._given is not None else self._shared | shared

    def settle(self, shared: Iterable[Tensor]) -> None:
        """Take these parameters and no others for shared from here on."""
        self._given = set(shared)

    def shared_in(self, trace: Trace) -> set[Tensor]:
        """The shared parameters, where those that no row has shown yet are judged by the structure of this graph."""
        if self._given is not None:
            return self._given
        return self._shared | {leaf for leaf in trace.met() if leaf not in self._owner}

    def complete_in(self, trace: Trace) -> bool:
        """Whether the heads alone show all parameters that belong to one task, so that all behind them are shared."""
        visible = set(trace.leaves.values())
        if self._given is not None:
            rest = visible - self._given
            known = rest <= self._owner.keys() and rest.isdisjoint(self._shared)
            return known and rest.union(self._given).issuperset(self.trainable())
        new = any(leaf in self._names and leaf not in self._owner for leaf in visible)
        return not new and self.own <= visible

    def leaves(self, met: Iterable[Tensor], *, everywhere: bool) -> list[Tensor]:
        """The model's parameters that require a gradient, and any other leaf that was met.

        By a walk `everywhere`, that also tells whether there are other leaves at all (`closed`).
        """
        trainable = self.trainable()
        leaves = list(dict.fromkeys([*trainable, *met]))
        if everywhere:
            self.closed = len(leaves) == len(trainable)
        return leaves

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
