"""UPGrad: every task's gradient, projected on the directions that hurt no task, and then averaged."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class UPGrad(GradientStrategy):
    """The mean (or sum, or preferred combination) of the gradients, each projected on the dual cone of them all.

    d = sum_t P(u_t g_t), u_t = 1/T, with P(x) the nearest direction to x that hurts no task, <g_s, P(x)> >= 0 for all
    s. Since P(u_t g_t) = u_t P(g_t), a task's influence is proportional to the length of its gradient.

    No task is hurt. Without conflict d is the mean gradient. At Pareto-stationary points d vanishes and the status is
    STATIONARY.
    """

    convention = "mean"
    steady = "without conflict"
    paper = "Quinton and Rey: Jacobian Descent For Multi-Objective Optimization (2024), proposition 1"

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        preference: dict[str, Positive] | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set how the projected gradients are put together.

        Args:
            reduction: d is the `mean` or the `sum` of the projected gradients; the sum multiplies the effective
                learning rate by the number of tasks (default mean).
            preference: share of each task's projected gradient in d, by task name (default: equal).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.reduction = reduction
        self.preference = preference

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=True, descends_mean=True)

    def bind(self, tasks: Sequence[str]) -> None:
        if self.preference is not None:
            require_same_tasks("UPGrad: preference", self.preference, tasks)

    def solve(self, observation: Observation) -> Decision:
        shares = preference_shares("UPGrad", self.preference, observation.tasks)
        factors = shares if self.reduction == "mean" else shares * len(shares)
        solution = dual_cone(observation.require_gram(), np.diag(factors), observation.precision)
        return Decision(solution.weights, solution=solution)
