"""Ghost rows: exact inner products of weight gradients that are never formed.

The weight gradient of task t in a layer Y = X W' (N positions, a convolution seen through its unfolded input) is
dY_t' X. Hence <dW_s, dW_t> = sum((X X' dY_s) * dY_t), where one half H of X X' = H + H' does, and the combined gradient
is (sum_t c_t dY_t)' X: one weight gradient instead of T, in time and in memory. It pays where N is small beside the
layer's width: in multiplications, with D = d_in d_out weights and PANEL positions at a time, where

    N (N + PANEL) / 2 (d_in + T d_out) + EASE N D + T HANDLING < T (EASE N + UPKEEP) D

A layer keeps its stored rows, with the reason on show, where this does not hold or exactness is in doubt.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from coral_mtl.engine.ghost_layers import Call, Layer, described, is_candidate, positions, saving
from coral_mtl.engine.ghost_pass import GhostPass
from coral_mtl.engine.graph import uses_of_leaves
from coral_mtl.errors import StrategyError

WORTHWHILE = 250_000_000
"""What all layers together have to save, in multiplications, before a step looks for them in its graph."""


RowForm = Literal["auto", "stored", "ghost"]


def ghost_rows(model: object, rows: RowForm, *, from_gram: bool) -> "GhostRows | None":
    """Return the ghost rows of a model, where they are wanted and coefficients come `from_gram` matrices alone.

    Raises:
        StrategyError: they are wanted at any price, and not possible.
    """
    if rows != "stored" and from_gram and isinstance(model, nn.Module):
        return GhostRows(model, always=rows == "ghost")
    if rows == "ghost":
        raise StrategyError(
            'rows="ghost" needs a module, and a strategy that works on the Gram matrix\n    leave it at "auto"'
        )
    return None


class Recorder:
    """A forward hook that notes the calls of one layer; it goes quiet when its engine is gone, copied or pickled."""

    def __init__(self, owner: "GhostRows", module: Layer) -> None:
        self.__setstate__({"owner": weakref.ref(owner), "module": weakref.ref(module)})

    def __call__(self, module: Layer, inputs: tuple[Any, ...], output: Any) -> None:
        owner = self.owner()
        if torch.compiler.is_compiling() or owner is None or module is not self.module():
            return
        if torch.is_grad_enabled() and isinstance(output, Tensor) and output.grad_fn is not None:
            x = inputs[0]
            owner.note(module, Call(x, x._version, output.grad_fn, output.dtype))

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.owner: Callable[[], GhostRows | None] = state.get("owner", _nobody)
        self.module: Callable[[], Layer | None] = state.get("module", _nobody)


UNSEEN = "it was not called, or its calls are out of sight (compiled)"


def _nobody() -> None:
    return None


class GhostRows:
    """The layers of a model that can do without per-task weight gradients, and why the others cannot."""

    def __init__(self, model: nn.Module, *, always: bool = False) -> None:
        """Watch the layers of a model; take ghost rows where they are cheaper, or `always` where they are possible."""
        self.always = always
        self._in_backward = False
        self.proven: set[Layer] = set()
        self.taken: list[Layer] = []
        self.reasons: dict[str, str] = {}
        self._banned: dict[Layer, str] = {}
        self._declined: tuple[object, ...] = ()
        self._calls: dict[Layer, list[Call]] = {}
        self._positions: dict[Layer, int] = {}
        self._layers = {module: name for name, module in model.named_modules() if is_candidate(module)}
        for module in self._layers:
            module.register_forward_hook(Recorder(self, module))

    def note(self, module: Layer, call: Call) -> None:
        """Remember a call until the next backward; a layer that runs during one is recomputed, and never taken."""
        if self._in_backward:
            self._banned[module] = "it is recomputed in the backward pass (activation checkpointing)"
        elif module not in self._banned:
            self._calls.setdefault(module, []).append(call)

    @contextmanager
    def backward_pass(self, *, in_use: bool) -> Iterator[None]:
        """Take calls of a layer for recomputation until it ends; the noted ones do not outlive it, nor its beginning
        where nothing is `in_use`: they would keep their inputs.
        """
        if not in_use:
            self.forget()
        self._in_backward = True
        try:
            yield
        finally:
            self._in_backward = False
            self.forget()

    def never(self) -> dict[str, str]:
        """The layers that are never taken again whatever the step, by name, each with the reason."""
        return {self._layers[module]: reason for module, reason in self._banned.items()}

    def rule_out(self, never: Mapping[str, str]) -> None:
        """Take over what `never` returned before."""
        self._banned = {module: never[name] for module, name in self._layers.items() if name in never}

    def forget(self) -> dict[Layer, list[Call]]:
        """Return the calls noted since last time, and keep none."""
        calls, self._calls = self._calls, {}
        return calls

    def candidates(self, shared: set[Tensor], tasks: int) -> dict[Layer, list[Call]]:
        """Return the layers to try at this step, with their calls since last time; say why the others are not tried."""
        calls = self.forget()
        self.taken = []
        self._positions = {module: positions(module, made) for module, made in calls.items()}
        situation = (tasks, len(shared), len(self._banned), torch.get_num_threads(), *self._positions.values())
        if situation == self._declined:  # as at the step before, with the same reasons
            return {}
        found = {module: self._refusal(module, calls.get(module, []), shared, tasks) for module in self._layers}
        chosen = {module: calls[module] for module, reason in found.items() if not reason}
        self.reasons = {self._layers[module]: reason for module, reason in found.items() if reason}
        if self._worthwhile({module: self._positions[module] for module in chosen}, tasks):
            return chosen
        self.reasons |= {self._layers[module]: "ghost rows would save too little" for module in chosen}
        self._declined = situation
        return {}

    def _refusal(self, module: Layer, calls: Sequence[Call], shared: set[Tensor], tasks: int) -> str:
        """Why a layer keeps its stored rows at this step, as far as it shows without the graph; "" if it need not."""
        doubt = self._banned.get(module) or (_obstacle(module, calls, shared) if calls else UNSEEN)
        if doubt or self.always or saving(module, self._positions[module], tasks) > 0:
            return doubt
        return f"its stored rows are cheaper ({described(module, self._positions[module])})"

    def plan(self, calls: Mapping[Layer, list[Call]], nodes: Sequence[Node]) -> GhostPass:
        """Choose among the candidates those that are what they seem in the graph of this step."""
        uses, present = uses_of_leaves(nodes), set(nodes)
        chosen = {}
        for module, made in calls.items():
            found = [call for call in made if call.node in present]
            if not found:
                self.reasons[self._layers[module]] = UNSEEN
            elif uses.get(module.weight, 0) != len(found):
                self.reasons[self._layers[module]] = "its weight is used outside the layer"
            else:
                chosen[module] = found
        self.taken = list(chosen)
        return GhostPass(chosen, self.proven, self.ban)

    def names(self, layers: Sequence[Layer]) -> list[str]:
        """The names of some layers."""
        return [self._layers[layer] for layer in layers]

    def forecast(self, shared: set[Tensor], tasks: int) -> list[Layer]:
        """Return the layers that will be taken at a refresh with `tasks` tasks, as far as the last one tells.

        At the first refresh nobody knows yet what is shared, so that no layer is taken; the second may be far away.
        """
        if self.taken:
            return self.taken
        layers = [
            layer
            for layer, count in self._positions.items()
            if layer.weight in shared and layer not in self._banned and (self.always or saving(layer, count, tasks) > 0)
        ]
        return layers if self._worthwhile({layer: self._positions[layer] for layer in layers}, tasks) else []

    def _worthwhile(self, positions: Mapping[Layer, int], tasks: int) -> bool:
        saved = sum(saving(layer, count, tasks) for layer, count in positions.items())
        return self.always or saved > WORTHWHILE * torch.get_num_threads()

    def ban(self, module: Layer, error: float) -> None:
        """Never take this layer again: its ghost row was not the gradient that autograd computed."""
        self._banned[module] = f"its ghost row differs from an explicit one by {error:.1e}"


def _obstacle(module: Layer, calls: Sequence[Call], shared: set[Tensor]) -> str:
    """Why ghost rows of a layer would not be exact; "" if nothing speaks against it."""
    weight = module.weight
    types = {kind for call in calls for kind in (call.inputs.dtype, call.output_type)}
    hooked = bool(weight._backward_hooks or module._backward_hooks or module._backward_pre_hooks)
    silent = module.bias is None or not module.bias.requires_grad
    blind = silent and not all(call.inputs.requires_grad for call in calls)
    obstacles = {
        "its weight is not a shared trainable parameter": weight not in shared or not weight.requires_grad,
        "its weight or the layer has a backward hook": hooked,
        "its input was changed in place": not all(call.intact for call in calls),
        "it computes in another type than its weight's (autocast)": types != {weight.dtype},
        "nothing before it needs a gradient": blind,
    }
    return next((reason for reason, holds in obstacles.items() if holds), "")
