"""One step with ghost rows: what is noted in the tasks' backward passes, and what is made of it."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from coral_mtl.engine.ghost_layers import (
    Call,
    Layer,
    flat_outputs,
    half_kernel_products,
    positions_of,
    unfold,
    weight_gradient,
)
from coral_mtl.engine.gram import Block, full_precision, inner_products
from coral_mtl.engine.rows import Row

AGREEMENT = 1e-3
"""Largest relative difference to an explicitly computed weight gradient that rounding explains."""


class GhostPass:
    """One step's ghost layers: output gradients by task, their inner products, and the combined weight gradients."""

    def __init__(
        self, calls: Mapping[Layer, list[Call]], proven: set[Layer], ban: Callable[[Layer, float], None]
    ) -> None:
        """Begin a step.

        Args:
            calls: of each ghost layer.
            proven: layers whose ghost rows agreed with explicit ones before; more are added.
            ban: told of a layer whose ghost row does not, and by how much.
        """
        self._calls = calls
        self._proven = proven
        self._ban = ban
        self._outputs: list[dict[Node, Tensor]] = []
        self.weights = {module.weight: module for module in calls}

    @property
    def unproven(self) -> set[Tensor]:
        """Weights whose ghost row has not been compared with an explicit one yet."""
        return {module.weight for module in self._calls if module not in self._proven}

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
                self._ban(module, float(difference.norm() / explicit.norm()))
                agreed = False
            else:
                self._proven.add(module)
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
            x = torch.cat([unfold(module, call.inputs.detach()) for call in calls])
            outputs = [self._joined(module, calls, task) for task in present]
            with full_precision(x.device):
                half = inner_products(half_kernel_products(x, outputs), outputs)
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
                flat_outputs(module, noted[call.node])
                if call.node in noted
                else call.inputs.new_zeros(positions_of(module, call.inputs), width)
                for call in calls
            ]
        )

    def _weight_gradient(self, module: Layer, noted: Mapping[Node, Tensor]) -> Tensor | None:
        parts = [
            weight_gradient(module, call.inputs.detach(), noted[call.node])
            for call in self._calls[module]
            if call.node in noted
        ]
        return None if not parts else parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _note(noted: dict[Node, Tensor], node: Node) -> Callable[[tuple[Tensor, ...]], None]:
    def hook(gradients: tuple[Tensor, ...]) -> None:
        noted[node] = gradients[0]

    return hook
