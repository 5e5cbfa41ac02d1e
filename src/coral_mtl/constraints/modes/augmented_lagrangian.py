"""Multipliers that learn what each bound is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.modes.penalty import Penalty
from coral_mtl.constraints.sets import FeasibleSet
from coral_mtl.errors import CheckpointError
from coral_mtl.schedules import Horizon


@registry.constraint_modes.register
class AugmentedLagrangian(Penalty):
    """Adds sum_i (max(0, lambda_i + rho c_i)^2 - lambda_i^2) / (2 rho), then lambda_i <- max(0, lambda_i + rho c_i).

    A penalty with multipliers, which learn in steps of its weight rho. The form for inequalities (Powell, Hestenes,
    Rockafellar; Nocedal & Wright 2006, section 17.4): smooth at the boundary, and lambda tends to the true multipliers,
    so that violations vanish at a finite rho.
    """

    def __init__(
        self, allowed: FeasibleSet, model: nn.Module, names: Sequence[str], run: Horizon, **penalty: Any
    ) -> None:
        """Start with multipliers of 0."""
        super().__init__(allowed, model, names, run, **penalty)
        self.multipliers = {name: torch.zeros_like(c.detach()) for name, c in self.violations().items()}

    def term(self, step: int) -> Tensor:
        return augmented_term(self.violations(), self.multipliers, self._rho(step))

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        rho = self._rho(step)
        for name, violation in self.violations().items():
            self.multipliers[name] = (self.multipliers[name] + rho * violation).clamp(min=0.0)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return also the largest `multiplier`."""
        return {
            name: {**own, "multiplier": self.multipliers[name].max().item()} for name, own in super().figures().items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"multipliers": dict(self.multipliers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the multipliers; raise CheckpointError where they are of other parameters."""
        saved = state["multipliers"]
        if {name: m.shape for name, m in saved.items()} != {name: m.shape for name, m in self.multipliers.items()}:
            raise CheckpointError(
                f"the checkpoint has multipliers of {', '.join(saved)}, not of {', '.join(self.names)}"
            )
        self.multipliers = {name: saved[name].to(own) for name, own in self.multipliers.items()}


def augmented_term(violations: Mapping[str, Tensor], multipliers: Mapping[str, Tensor], rho: float) -> Tensor:
    """Return sum_i (max(0, lambda_i + rho c_i)^2 - lambda_i^2) / (2 rho)."""
    shifted = [
        (multipliers[name] + rho * violation).clamp(min=0.0).square().sum() - multipliers[name].square().sum()
        for name, violation in violations.items()
    ]
    return torch.stack(shifted).sum() / (2.0 * rho)
