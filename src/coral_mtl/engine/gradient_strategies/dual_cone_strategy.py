"""What UPGrad and DualProj share: shares of the tasks, projected on the directions that hurt no task."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np

from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import Positive, PositiveInt


class DualConeStrategy(GradientStrategy):
    """d = sum_k P(sum_t U_kt g_t), with P(x) the nearest direction to x that hurts no task, <g_s, P(x)> >= 0."""

    convention = "mean"

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        preference: dict[str, Positive] | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set how the gradients are put together.

        Args:
            reduction: d is the `mean` or the `sum` over the tasks; the sum multiplies the effective learning rate by
                the number of tasks (default mean).
            preference: share of each task in d, by task name, scaled to sum 1 (default: equal).
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
            require_same_tasks(f"{type(self).__name__}: preference", self.preference, tasks)

    @abstractmethod
    def combinations(self, shares: np.ndarray) -> np.ndarray:
        """Return U, (K, T), the combinations that are projected, from the (T,) shares u of the tasks."""

    def solve(self, observation: Observation) -> Decision:
        shares = preference_shares(type(self).__name__, self.preference, observation.tasks)
        factors = shares if self.reduction == "mean" else shares * len(shares)
        solution = dual_cone(observation.require_gram(), self.combinations(factors), observation.precision)
        return Decision(solution.weights, solution=solution)
