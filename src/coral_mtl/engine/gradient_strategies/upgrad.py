"""UPGrad: every task's gradient, projected on the directions that hurt no task, and then averaged."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.dual_cone_strategy import DualConeStrategy


@registry.strategies.register
class UPGrad(DualConeStrategy):
    """The mean (or sum, or preferred combination) of the gradients, each projected on the dual cone of them all.

    d = sum_t P(u_t g_t), u_t = 1/T, with P(x) the nearest direction to x that hurts no task, <g_s, P(x)> >= 0 for all
    s. Since P(u_t g_t) = u_t P(g_t), a task's influence is proportional to the length of its gradient.

    No task is hurt. Without conflict d is the mean gradient. At Pareto-stationary points d vanishes and the status is
    STATIONARY.
    """

    steady = "without conflict"
    paper = "Quinton and Rey: Jacobian Descent For Multi-Objective Optimization (2024), proposition 1"

    def combinations(self, shares: np.ndarray) -> np.ndarray:
        return np.diag(shares)
