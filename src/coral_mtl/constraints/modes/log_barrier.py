"""A wall that rises towards the boundary from within."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.modes.constraint import Constraint
from coral_mtl.constraints.sets import FeasibleSet
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.schedules import Geometric, Horizon, PositiveSchedule, bounded_curve

NEAREST = 0.005
"""A step leaves at least this share of the distance to every bound."""


@registry.constraint_modes.register
class LogBarrier(Constraint):
    """Adds - mu sum_i log(-c_i), with steps that never reach the boundary.

    A barrier works inside only, and an optimiser knows nothing of it: so a step that would leave less than 0.005 of the
    distance to a bound is shortened to leave just that (fraction to the boundary; Nocedal & Wright 2006, eq. 19.9),
    coordinate by coordinate where the bounds are of single coordinates. The optimum is missed by about mu for every
    active bound, so let mu fall.
    """

    def __init__(
        self,
        allowed: FeasibleSet,
        model: nn.Module,
        names: Sequence[str],
        run: Horizon,
        *,
        mu: PositiveSchedule | None = None,
    ) -> None:
        """Set the height of the wall.

        Args:
            mu: weight of the barrier, a number or a schedule (default: falling from 0.1 to 1e-4 over the run, by the
                same factor at every step).

        Raises:
            ConfigError: the set has no inside, or a parameter does not start there.
        """
        super().__init__(allowed, model, names, run)
        if not allowed.has_interior:
            raise ConfigError(
                f"LogBarrier: a {type(allowed).__name__} has no inside to stay in\n    take the mode Projected"
            )
        for name, violation in self.violations().items():
            if not bool((violation < 0.0).all()):
                raise ConfigError(
                    f"LogBarrier: {name} starts on or outside the boundary of {type(allowed).__name__}, where the "
                    "barrier is infinite\n    begin inside, or take the mode Projected"
                )
        falling = Geometric(start=0.1, end=1e-4)
        self._mu = bounded_curve("LogBarrier: mu", falling if mu is None else mu, run, positive=True)
        self._before: dict[str, Tensor] = {}

    def term(self, step: int) -> Tensor:
        return barrier_term(self.violations(), self._mu(step))

    @torch.no_grad()
    def before_step(self) -> None:
        self._before = {name: tensor.clone() for name, tensor in self.tensors().items()}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Shorten the step where it goes too near the boundary; raise TrainingError unless `before_step` was called."""
        if not self._before:
            raise TrainingError("LogBarrier: after_step without before_step\n    call it before the optimiser steps")
        for name, tensor in self.tensors().items():
            before = self._before[name]
            left, wanted = -self.allowed.violation(before), -self.allowed.violation(tensor)
            share = torch.where(wanted < NEAREST * left, (1.0 - NEAREST) * left / (left - wanted), 1.0).amin(dim=0)
            moved = torch.where(share < 1.0, before + share * (tensor - before), tensor)
            inside = (self.allowed.violation(moved) < 0.0).all(dim=0)  # rounding may have closed the last distance
            tensor.copy_(torch.where(inside, moved, before))
        self._before = {}


def barrier_term(violations: Mapping[str, Tensor], mu: float) -> Tensor:
    """Return -mu sum_i log(-c_i)."""
    return -mu * torch.stack([torch.log(-violation).sum() for violation in violations.values()]).sum()
