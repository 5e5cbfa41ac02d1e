"""DualProj: the mean gradient, projected on the directions that hurt no task."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.dual_cone_strategy import DualConeStrategy


@registry.strategies.register
class DualProj(DualConeStrategy):
    """The projection of the mean gradient (or the sum, or a preferred combination) on the dual cone of the gradients.

    d = argmin |x - sum_t u_t g_t|^2 subject to <g_t, x> >= 0 for all t, with u_t = 1/T;  d = sum_t v_t g_t, where v
    minimises v'Mv over v >= u.

    No task is hurt. Without conflict d is the mean gradient itself. At Pareto-stationary points d vanishes and the
    status is STATIONARY.
    """

    steady = "at bounds"
    paper = (
        "Lopez-Paz and Ranzato: Gradient Episodic Memory for Continual Learning (NeurIPS 2017); "
        "Quinton and Rey: Jacobian Descent For Multi-Objective Optimization (2024), proposition 1"
    )

    def combinations(self, shares: np.ndarray) -> np.ndarray:
        return shares[None, :]
