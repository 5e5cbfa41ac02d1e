"""MoDo: MGDA for stochastic gradients, with two independent batches in place of one batch twice."""

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.simplex_weights import SimplexWeights, nearest_on_simplex
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, Memory
from coral_mtl.options import NonNegative, Positive, PositiveInt


@registry.strategies.register
class MoDo(GradientStrategy):
    """A convex combination of the gradients whose weights take one unbiased step a time towards the min-norm point.

    lambda <- P(lambda - gamma (G_1 G_2' + rho I) lambda) with the gradients G_1, G_2 of two independent batches and P
    the Euclidean projection on the simplex;  d = sum_t lambda_t g_t on both batches together.

    A step needs two micro-batches at least, which are dealt to the two batches in turn. No promise for a single step.
    gamma is in units of one over a squared gradient: where gradients are long (gamma |g|^2 >> 1), lambda jumps from
    corner to corner. Nothing to solve, so it cannot fail.
    """

    needs = Needs.ROWS
    batches = 2
    convention = "mean"
    steady = "at bounds"
    paper = "Chen et al.: Three-Way Trade-Off in Multi-Objective Learning (NeurIPS 2023), algorithm 1"

    def __init__(self, *, gamma: Positive = 0.1, rho: NonNegative = 0.1, update_frequency: PositiveInt = 1) -> None:
        """Set the pace of the weights.

        Args:
            gamma: step size of the weights, per squared gradient (default 0.1).
            rho: pull of the weights towards equal ones, in squared gradients (default 0.1).
            update_frequency: move the weights once in this many steps and reuse them in between, at the cost of a
                single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.gamma = gamma
        self.rho = rho
        self._weights = SimplexWeights()

    @property
    def promises(self) -> Promises:
        return Promises(scale="none", simplex=True)

    def solve(self, observation: Observation) -> Decision:
        tasks = observation.tasks
        weights = self._weights.recall(tasks)
        slopes = observation.require_rows().cross_gram(0, 1) @ weights + self.rho * weights
        weights = nearest_on_simplex(weights - self.gamma * slopes)
        self._weights.keep(tasks, weights)
        return Decision(weights)

    def memories(self) -> dict[str, Memory]:
        return {"weights": self._weights}
