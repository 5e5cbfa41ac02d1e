"""MoCo: MGDA for stochastic gradients, on running averages in place of one batch's gradients."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.coordinates import GradientAverages
from coral_mtl.engine.gradient_strategies.simplex_weights import SimplexWeights, nearest_on_simplex
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, Memory
from coral_mtl.options import Fraction, NonNegative, Positive


@registry.strategies.register
class MoCo(GradientStrategy):
    """A convex combination of running averages of the gradients that moves towards their min-norm point.

    y_t <- y_t + beta (g_t - y_t), from 0;  lambda <- P(lambda - gamma (Y Y' + rho I) lambda), P the Euclidean
    projection on the simplex;  d = sum_t lambda_t y_t.

    One gradient step a training step on the problem of MGDA, with a gradient whose bias vanishes as the averages
    settle. No promise for a single step. gamma is in units of one over a squared gradient: where gradients are long
    (gamma |y|^2 >> 1), lambda jumps from corner to corner. d is no combination of this step's gradients: the weights
    reported are those of the nearest one. Keeps one copy of the shared parameters per task. Nothing to solve, so it
    cannot fail.

    Records `moco_lambda` by task.
    """

    needs = Needs.ROWS
    convention = "mean"
    steady = "at bounds"
    paper = "Fernando et al.: Mitigating Gradient Bias in Multi-objective Learning (ICLR 2023), algorithm 1"

    def __init__(self, *, beta: Fraction = 0.1, gamma: Positive = 0.1, rho: NonNegative = 0.1) -> None:
        """Set the pace of the averages and of the weights.

        Args:
            beta: share of the newest gradient in the average (default 0.1).
            gamma: step size of the weights, per squared gradient (default 0.1).
            rho: pull of the weights towards equal ones, in squared gradients (default 0.1).
        """
        super().__init__()
        self.beta = beta
        self.gamma = gamma
        self.rho = rho
        self._averages = GradientAverages()
        self._weights = SimplexWeights()

    @property
    def promises(self) -> Promises:
        return Promises(scale="none", nonnegative=False, combination=False)

    def solve(self, observation: Observation) -> Decision:
        tasks, rows = observation.tasks, observation.require_rows()
        self._averages.move(tasks, rows, self.beta, np.ones(len(tasks)))
        weights = self._weights.recall(tasks)
        slopes = self._averages.gram(tasks, rows) @ weights + self.rho * weights
        weights = nearest_on_simplex(weights - self.gamma * slopes)
        self._weights.keep(tasks, weights)
        records = {"moco_lambda": dict(zip(tasks, weights.tolist(), strict=True))}
        return Decision(weights, records=records, direction=self._averages.combined(tasks, rows, weights))

    def memories(self) -> dict[str, Memory]:
        return {"averages": self._averages, "weights": self._weights}
