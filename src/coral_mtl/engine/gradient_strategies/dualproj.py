"""DualProj: the mean gradient, projected on the directions that hurt no task."""

from collections.abc import Sequence
from typing import Literal

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.preference import preference_shares
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class DualProj(GradientStrategy):
    """The projection of the mean gradient (or the sum, or a preferred combination) on the dual cone of the gradients.

    d = argmin |x - sum_t u_t g_t|^2 subject to <g_t, x> >= 0 for all t, with u_t = 1/T;  d = sum_t v_t g_t, where v
    minimises v'Mv over v >= u.

    No task is hurt. Without conflict d is the mean gradient itself. At Pareto-stationary points d vanishes and the
    status is STATIONARY.
    """

    convention = "mean"
    steady = "at bounds"
    paper = (
        "Lopez-Paz and Ranzato: Gradient Episodic Memory for Continual Learning (NeurIPS 2017); "
        "Quinton and Rey: Jacobian Descent For Multi-Objective Optimization (2024), proposition 1"
    )

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        preference: dict[str, Positive] | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set what is projected.

        Args:
            reduction: project the `mean` of the gradients or their `sum`, which multiplies the effective learning rate
                by the number of tasks (default mean).
            preference: share of each task's gradient in what is projected, by task name (default: equal).
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
            require_same_tasks("DualProj: preference", self.preference, tasks)

    def solve(self, observation: Observation) -> Decision:
        shares = preference_shares("DualProj", self.preference, observation.tasks)
        combined = shares if self.reduction == "mean" else shares * len(shares)
        solution = dual_cone(observation.require_gram(), combined[None, :], observation.precision)
        return Decision(solution.weights, solution=solution)
