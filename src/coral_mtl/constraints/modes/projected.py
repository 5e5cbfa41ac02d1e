"""The projection back onto the set after every step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.modes.constraint import Constraint
from coral_mtl.constraints.sets import FeasibleSet
from coral_mtl.schedules import Horizon


@registry.constraint_modes.register
class Projected(Constraint):
    """w <- the nearest tensor of the set, after every optimiser step and once at the start.

    Exact: nothing is ever violated, and bounds are reached. The optimiser's averages stay as they are.
    """

    def __init__(self, allowed: FeasibleSet, model: nn.Module, names: Sequence[str], run: Horizon) -> None:
        super().__init__(allowed, model, names, run)
        self._moved: dict[str, Tensor] = {}
        self._project()

    def after_step(self, step: int) -> None:
        self._project()

    def figures(self) -> dict[str, dict[str, float]]:
        """Return also `movement`, how far the last projection moved the tensor."""
        return {name: {**own, "movement": self._moved[name].item()} for name, own in super().figures().items()}

    @torch.no_grad()
    def _project(self) -> None:
        for name, tensor in self.tensors().items():
            projected = self.allowed.project(tensor)
            self._moved[name] = torch.linalg.vector_norm(projected - tensor)
            tensor.copy_(projected)
