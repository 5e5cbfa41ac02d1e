"""Capped MGDA: the min-norm point without a task that dominates it."""

from typing import Annotated

from annotated_types import Interval

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.capped_min_norm import capped_min_norm
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import PositiveInt


@registry.strategies.register
class CappedMGDA(GradientStrategy):
    """The convex combination of least norm among those in which no task has more than a certain weight.

    w = argmin |sum_t w_t g_t|^2 over 0 <= w_t <= cap, sum_t w_t = 1;  d = sum_t w_t g_t.

    MGDA maximises the least gain of a task, this the mean gain of the 1/cap tasks that gain least, so that no task
    whose gradient is small or wrong takes over. cap = 1 is MGDA, and cap <= 1/T the mean gradient. The mean loss always
    falls; with cap < 1 tasks at their cap may be hurt. Where d vanishes the status is STATIONARY.
    """

    convention = "mean"
    steady = "at bounds"
    paper = "Hu, Ho, Yu: A Unified Framework for Gradient Aggregation in Multi-Objective Optimization (2026)"

    def __init__(self, *, cap: Annotated[float, Interval(gt=0, le=1)] = 0.5, update_frequency: PositiveInt = 1) -> None:
        """Set the cap.

        Args:
            cap: largest weight of a task (default 0.5).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.cap = cap

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=self.cap == 1.0, simplex=True, descends_mean=True)

    def solve(self, observation: Observation) -> Decision:
        solution = capped_min_norm(observation.require_gram(), self.cap, observation.precision)
        return Decision(solution.weights, solution=solution)
