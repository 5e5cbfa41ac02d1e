"""CAGrad: the best worst-case gain within a ball around the mean gradient."""

from typing import Literal

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cagrad import cagrad
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import NonNegative, PositiveInt


@registry.strategies.register
class CAGrad(GradientStrategy):
    """The direction that maximises the least gain of a task within a ball around the mean gradient g_0.

    max over d of min_t <g_t, d>  subject to  |d - g_0| <= c |g_0|;  d = g_0 + c |g_0| g_w / |g_w|, with w on the
    simplex minimising <g_w, g_0> + c |g_0| |g_w|, g_w = sum_t w_t g_t.

    c = 0 is the mean gradient. From c = 1 on the ball holds a direction that hurts no task, and so does d; below, it
    may hurt some. The mean loss always falls. At Pareto-stationary points, where g_w may vanish, the status is
    STATIONARY, and d = 0 if c >= 1.
    """

    convention = "mean"
    steady = "at bounds"
    paper = (
        "Liu, Liu, Jin, Stone, Liu: Conflict-Averse Gradient Descent for Multi-task Learning "
        "(NeurIPS 2021), algorithm 1"
    )

    def __init__(
        self, *, c: NonNegative = 0.4, rescale: Literal[0, 1, 2] = 0, update_frequency: PositiveInt = 1
    ) -> None:
        """Set the ball.

        Args:
            c: radius of the ball in units of |g_0| (default 0.4).
            rescale: divide the direction by 1, as in the paper (0), by 1 + c^2, as in the authors' code for neural
                networks (1), or by 1 + c, as in their toy example (2) (default 0).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.c = c
        self.rescale = rescale

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=self.c >= 1.0, descends_mean=True)

    def solve(self, observation: Observation) -> Decision:
        solution = cagrad(observation.require_gram(), self.c, precision=observation.precision)
        divisor = (1.0, 1.0 + self.c**2, 1.0 + self.c)[self.rescale]
        return Decision(solution.weights / divisor, solution=solution)
