"""IMTL-G: the direction that makes the same angle with every task's gradient."""

import math

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.prescribed_cosines import prescribed_cosines
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.engine.strategy import GradientStrategy


@registry.strategies.named("IMTL-G")
class IMTLG(GradientStrategy):
    """The combination of the gradients with equal projections on all unit gradients u_t = g_t / |g_t|.

    C y = 1 with C the cosine matrix, v_t = y_t / |g_t|, d = sum_t v_t g_t / |sum_t v_t|.

    The published weights v / sum(v) point against every task where sum(v) < 0; the absolute value keeps <u_t, d> > 0.
    Where sum(v) is near zero, d is shortened to the length of the longest gradient, which no convex combination
    exceeds. Coefficients may be negative.

    Where the gradients are so dependent that no direction has equal projections, the least of them is made as large as
    possible, the direction of MGDA with normalization l2 (FALLBACK); d = 0 at Pareto-stationary points among those
    (STATIONARY).
    """

    convention = "mean"
    paper = "Liu et al.: Towards Impartial Multi-Task Learning (ICLR 2021), section 3.1"

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=True, scale="per_task", nonnegative=False, descends_mean=True)

    def solve(self, observation: Observation) -> Decision:
        cosines, norms = cosine_matrix(observation.require_gram())
        solution = prescribed_cosines(cosines, np.ones(len(norms)), observation.precision)
        if solution.status is Status.STATIONARY:
            return Decision(solution.weights, solution=solution)
        y = solution.weights
        v = y / norms
        length = math.sqrt(max(float(y @ cosines @ y), 0.0))
        return Decision(v / max(abs(float(v.sum())), length / float(norms.max())), solution=solution)
