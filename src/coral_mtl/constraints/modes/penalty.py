"""A price on violations."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.constraints.modes.constraint import Constraint
from coral_mtl.constraints.sets import FeasibleSet
from coral_mtl.schedules import Horizon, PositiveSchedule, bounded_curve


@registry.constraint_modes.register
class Penalty(Constraint):
    """Adds rho sum_i max(0, c_i)^2, without a factor 1/2.

    At the optimum bounds are violated by about lambda_i / (2 rho), with lambda_i the multiplier: by less for larger
    rho, by 0 for none.
    """

    def __init__(
        self,
        allowed: FeasibleSet,
        model: nn.Module,
        names: Sequence[str],
        run: Horizon,
        *,
        rho: PositiveSchedule = 1.0,
    ) -> None:
        """Set the price.

        Args:
            rho: weight of the penalty, a number or a schedule (default 1.0).
        """
        super().__init__(allowed, model, names, run)
        self._rho = bounded_curve(f"{type(self).__name__}: rho", rho, run, positive=True)

    def term(self, step: int) -> Tensor:
        return penalty_term(self.violations(), self._rho(step))


def penalty_term(violations: Mapping[str, Tensor], rho: float) -> Tensor:
    """Return rho sum_i max(0, c_i)^2."""
    squares = [violation.clamp(min=0.0).square().sum() for violation in violations.values()]
    return rho * torch.stack(squares).sum()
