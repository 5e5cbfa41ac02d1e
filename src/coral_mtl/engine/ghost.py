"""Ghost rows: exact inner products of weight gradients that are never formed.

The weight gradient of task t in a layer Y = X W' (N positions, a convolution seen through its unfolded input) is
dY_t' X. Hence <dW_s, dW_t> = sum((X X' dY_s) * dY_t), where one half H of X X' = H + H' does, and the combined gradient
is (sum_t c_t dY_t)' X: one weight gradient instead of T, in time and in memory. It pays where N is small beside the
layer's width: in multiplications, with D = d_in d_out weights and PANEL positions at a time, where

    N (N + PANEL) / 2 (d_in + T d_out) + EASE N D + T HANDLING < T (EASE N + UPKEEP) D

A layer keeps its stored rows, with the reason on show, where this does not hold or exactness is in doubt.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.grad import conv2d_weight

from coral_mtl.engine.gram import Block, inner_products
from coral_mtl.engine.rows import Row
from coral_mtl.engine.sharing import Trace

PANEL = 256
"""Positions whose products with all behind them are formed at once."""

UPKEEP = 50
"""What a stored coordinate costs once it is there: it is written, multiplied for the Gram matrix and combined."""

EASE = {nn.Linear: 1.0, nn.Conv2d: 0.5}
"""What a multiplication in a layer's own weight gradient costs, in those of a large matrix product."""

HANDLING = 2_000_000
"""What hooks and book-keeping of a ghost layer cost for each task, whatever its size.

UPKEEP, EASE and HANDLING were measured on one core (AMD, MKL and oneDNN) with the layers of benchmarks/nets.py and with
small dense ones; there the rule agrees with the times to a fifth.
"""

AGREEMENT = 1e-3
"""Largest relative difference to an explicitly computed weight gradient that rounding explains."""


Layer = nn.Linear | nn.Conv2d


@dataclass(slots=True)
class Call:
    """One call of a layer: what went in, and the node of the graph that made what came out."""

    inputs: Tensor
    version: int
    node: Node
    output_type: torch.dtype

    @property
    def intact(self) -> bool:
        """Whether nobody changed the input in place since."""
        return self.inputs._version == self.version


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


def _nobody() -> None:
    return None


class GhostRows:
    """The layers of a model that can do without per-task weight gradients, and why the others cannot."""

    def __init__(self, model: nn.Module, *, always: bool = False) -> None:
        """Watch the layers of a model; take ghost rows where they are cheaper, or `always` where they are possible."""
        self.always = always
        self.in_backward = False
        self.proven: set[Layer] = set()
        self.taken: set[Tensor] = set()
        self.reasons: dict[str, str] = {}
        self._banned: dict[Layer, str] = {}
        self._calls: dict[Layer, list[Call]] = {}
        self._layers = {module: name for name, module in model.named_modules() if _is_candidate(module)}
        for module in self._layers:
            module.register_forward_hook(Recorder(self, module))

    def note(self, module: Layer, call: Call) -> None:
        """Remember a call until the next backward; a layer that runs during one is recomputed, and never taken."""
        if self.in_backward:
            self._banned[module] = "it is recomputed in the backward pass (activation checkpointing)"
        elif module not in self._banned:
            self._calls.setdefault(module, []).append(call)

    def forget(self) -> dict[Layer, list[Call]]:
        """Return the calls noted since last time, and keep none."""
        calls, self._calls = self._calls, {}
        return calls

    def plan(self, trace: Trace, shared: set[Tensor], tasks: int) -> "GhostPass":
        """Choose the layers of this step, and say why the others keep stored rows."""
        calls = self.forget()
        uses = trace.uses_of_leaves()
        chosen = {}
        self.reasons = {}
        for module, name in self._layers.items():
            made = [call for call in calls.get(module, []) if call.node in trace.reached]
            reason = self._banned.get(module) or self._refusal(module, made, uses, shared, tasks)
            if reason:
                self.reasons[name] = reason
            else:
                chosen[module] = made
        self.taken = {module.weight for module in chosen}
        return GhostPass(chosen, self)

    def taken_layers(self) -> list[str]:
        """Names of the layers that did without stored rows at the last refresh."""
        return [name for module, name in self._layers.items() if module.weight in self.taken]

    def ban(self, module: Layer, error: float) -> None:
        """Never take this layer again: its ghost row was not the gradient that autograd computed."""
        self._banned[module] = f"its ghost row differs from an explicit one by {error:.1e}"

    def _refusal(
        self, module: Layer, calls: Sequence[Call], uses: Mapping[Tensor, int], shared: set[Tensor], tasks: int
    ) -> str:
        """Why a layer keeps its stored rows at this step; "" if it need not."""
        weight = module.weight
        types = {kind for call in calls for kind in (call.inputs.dtype, call.output_type)}
        blind = module.bias is None and not all(call.inputs.requires_grad for call in calls)
        obstacles = {
            "its weight is not a shared trainable parameter": weight not in shared or not weight.requires_grad,
            "it was not called, or its calls are out of sight (compiled)": not calls,
            "its weight is used outside the layer": uses.get(weight, 0) != len(calls),
            "its input was changed in place": not all(call.intact for call in calls),
            "it computes in another type than its weight's (autocast)": types != {weight.dtype},
            "nothing before it needs a gradient": blind,
        }
        return next((reason for reason, holds in obstacles.items() if holds), "") or (
            "" if self.always else self._expense(module, calls, tasks)
        )

    def _expense(self, module: Layer, calls: Sequence[Call], tasks: int) -> str:
        positions = sum(_positions(module, call.inputs) for call in calls)
        d_out, d_in = module.weight.shape[0], module.weight[0].numel()
        ease, size = EASE[type(module)], d_in * d_out
        products = positions * (positions + min(positions, PANEL)) / 2
        handling = tasks * HANDLING * torch.get_num_threads()  # done by one thread, unlike multiplications
        ghost = products * (d_in + tasks * d_out) + ease * positions * size + handling
        stored = tasks * (ease * positions + UPKEEP) * size
        return (
            "" if ghost < stored else f"its stored rows are cheaper ({positions} positions, a {d_out} x {d_in} weight)"
        )


class GhostPass:
    """One step's ghost layers: output gradients by task, their inner products, and the combined weight gradients."""

    def __init__(self, calls: Mapping[Layer, list[Call]], owner: GhostRows) -> None:
        self._calls = calls
        self._owner = owner
        self._outputs: list[dict[Node, Tensor]] = []
        self.weights = {module.weight: module for module in calls}

    @property
    def unproven(self) -> set[Tensor]:
        """Weights whose ghost row has not been compared with an explicit one yet."""
        return {module.weight for module in self._calls if module not in self._owner.proven}

    def record(self, run: Callable[[], Row]) -> Row:
        """Run one task's backward pass and note the gradients of the layers' outputs."""
        noted: dict[Node, Tensor] = {}
        nodes = [call.node for calls in self._calls.values() for call in calls]
        hooks = [node.register_prehook(_note(noted, node)) for node in nodes]
        try:
            row = run()
        finally:
            for hook in hooks:
                hook.remove()
        self._outputs.append(noted)
        return row

    def prove(self, row: Row) -> bool:
        """Take unproven weights' explicit gradients out of `row`; tell whether the recorded ones agree with them."""
        agreed = True
        for weight in self.unproven:
            module = self.weights[weight]
            explicit = row.pop(weight, None)
            if explicit is None:
                continue
            ours = self._weight_gradient(module, self._outputs[-1])
            difference = explicit if ours is None else ours - explicit
            if difference.norm() > AGREEMENT * explicit.norm():
                self._owner.ban(module, float(difference.norm() / explicit.norm()))
                agreed = False
            else:
                self._owner.proven.add(module)
        return agreed

    def reached(self, task: int) -> list[Tensor]:
        """The weights that a task reached."""
        return [module.weight for module, calls in self._calls.items() if self._is_reached(calls, task)]

    def _is_reached(self, calls: Sequence[Call], task: int) -> bool:
        return any(call.node in self._outputs[task] for call in calls)

    def blocks(self) -> list[Block]:
        """Inner products of the tasks' gradients on the ghost layers' weights, still on their devices."""
        tasks = len(self._outputs)
        halves: dict[tuple[torch.device, tuple[int, ...]], Tensor] = {}
        for module, calls in self._calls.items():
            present = tuple(task for task in range(tasks) if self._is_reached(calls, task))
            x = torch.cat([_unfold(module, call.inputs.detach()) for call in calls])
            outputs = [self._joined(module, calls, task) for task in present]
            half = inner_products(_half_kernel_products(x, outputs), outputs)
            place = (half.device, present)
            halves[place] = halves[place] + half if place in halves else half
        return [(present, half + half.T) for (_, present), half in halves.items()]

    def combined(self, coefficients: Mapping[int, float]) -> Row:
        """sum_t c_t dW_t of every ghost layer, over the tasks in `coefficients`, by their position."""
        row: Row = {}
        for module, calls in self._calls.items():
            mixed = {call.node: self._mixed(call.node, coefficients) for call in calls}
            gradient = self._weight_gradient(module, {node: g for node, g in mixed.items() if g is not None})
            if gradient is not None:
                row[module.weight] = gradient
        return row

    def _mixed(self, node: Node, coefficients: Mapping[int, float]) -> Tensor | None:
        mixed = None
        for task, coefficient in coefficients.items():
            gradient = self._outputs[task].get(node)
            if gradient is not None:
                mixed = gradient * coefficient if mixed is None else mixed.add_(gradient, alpha=coefficient)
        return mixed

    def _joined(self, module: Layer, calls: Sequence[Call], task: int) -> Tensor:
        """dY of all calls of a layer, (N, d_out); zero for calls that the task did not reach."""
        noted = self._outputs[task]
        width = module.weight.shape[0]
        return torch.cat(
            [
                _flat_outputs(module, noted[call.node])
                if call.node in noted
                else call.inputs.new_zeros(_positions(module, call.inputs), width)
                for call in calls
            ]
        )

    def _weight_gradient(self, module: Layer, noted: Mapping[Node, Tensor]) -> Tensor | None:
        parts = [
            _backward(module, call.inputs.detach(), noted[call.node])
            for call in self._calls[module]
            if call.node in noted
        ]
        return None if not parts else parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _note(noted: dict[Node, Tensor], node: Node) -> Callable[[tuple[Tensor, ...]], None]:
    def hook(gradients: tuple[Tensor, ...]) -> None:
        noted[node] = gradients[0]

    return hook


def _is_candidate(module: nn.Module) -> TypeGuard[Layer]:
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


def _padding(module: nn.Conv2d) -> tuple[int, int]:
    height, width = (int(pad) for pad in module.padding)  # numbers: _is_candidate leaves out "same" and "valid"
    return height, width


def _positions(module: Layer, inputs: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return inputs.numel() // module.in_features
    padding = _padding(module)
    sizes = zip(inputs.shape[-2:], module.kernel_size, module.stride, padding, module.dilation, strict=True)
    height, width = ((size + 2 * pad - hole * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, hole in sizes)
    return inputs.shape[0] * height * width


def _unfold(module: Layer, inputs: Tensor) -> Tensor:
    """X: (N, d_in)."""
    if isinstance(module, nn.Linear):
        return inputs.reshape(-1, module.in_features)
    columns = nn.functional.unfold(inputs, module.kernel_size, module.dilation, _padding(module), module.stride)
    return columns.transpose(1, 2).flatten(0, 1)


def _half_kernel_products(x: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
    """H dY_t for every task, (N, d_out), with H + H' = X X'."""
    products: list[list[Tensor]] = [[] for _ in outputs]
    for start in range(0, len(x), PANEL):
        panel = x[start : start + PANEL] @ x[start:].T
        panel[:, :PANEL] /= 2  # what lies on both sides of the diagonal
        for parts, output in zip(products, outputs, strict=True):
            parts.append(panel @ output[start:])
    return [torch.cat(parts) for parts in products]


def _flat_outputs(module: Layer, gradient: Tensor) -> Tensor:
    """dY: (N, d_out), its rows in the order of `_unfold`."""
    if isinstance(module, nn.Linear):
        return gradient.reshape(-1, module.out_features)
    return gradient.flatten(2).transpose(1, 2).flatten(0, 1)


def _backward(module: Layer, inputs: Tensor, gradient: Tensor) -> Tensor:
    """dW = dY' X."""
    if isinstance(module, nn.Linear):
        return _flat_outputs(module, gradient).T @ _unfold(module, inputs)
    return conv2d_weight(inputs, module.weight.shape, gradient, module.stride, _padding(module), module.dilation)
