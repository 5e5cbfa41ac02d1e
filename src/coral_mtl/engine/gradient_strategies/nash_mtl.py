"""Nash-MTL: the direction on which the tasks settle when they bargain."""

import math
from importlib.util import find_spec
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.nash import nash
from coral_mtl.engine.solvers.nash_ccp import nash_ccp
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.errors import MissingExtraError
from coral_mtl.options import NonNegative, PositiveInt


@registry.strategies.register
class NashMTL(GradientStrategy):
    """The bargaining solution, which gives every task the same relative gain whatever the scale of its loss.

    M a = 1/a, a > 0, with M the Gram matrix of the gradients;  d = sum_t a_t g_t.

    d maximises sum_t log <g_t, d> over a ball; <g_t, d> = 1/a_t > 0. Scaling a loss by any factor leaves d as it is.
    |d| = sqrt(T) always: it does not fall as training converges, so decay the learning rate or use an optimiser like
    Adam that divides by the gradient's size.

    Near Pareto-stationary points, where no direction improves all tasks, the problem has no solution; d then shrinks
    smoothly to what the tasks outside the conflict can gain, to zero if there are none, and the status is STATIONARY. A
    matrix that cannot be solved even so falls back to the direction of MGDA with normalization l2 (FALLBACK).

    Records `nash_objective`, sum_t log <g_t, d> (null if a task does not gain), and `nash_slack`, 1 - |d|^2/T: 0 where
    M a = 1/a holds, 1 where no task can gain. Both are of d before clipping.
    """

    convention = "own"
    paper = "Navon et al.: Multi-Task Learning as a Bargaining Game (ICML 2022), claim 3.1"

    def __init__(
        self,
        *,
        solver: Literal["auto", "iterative", "ccp"] = "auto",
        max_norm: NonNegative = 0.0,
        max_iterations: PositiveInt = 50,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the solver and what is done with its result.

        Args:
            solver: iterative, Newton's method, exact; ccp, the published concave-convex procedure with cvxpy (optional
                extra), slower and less accurate, for cross-checks; auto takes iterative (default auto).
            max_norm: longest shared direction |d|, longer ones are shortened to it; 0 is no limit (default 0.0). The
                published code has 1, which binds at every step.
            max_iterations: Newton steps or convex programs at most (default 50).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).

        Raises:
            MissingExtraError: `solver: ccp` without cvxpy.
        """
        super().__init__(update_frequency=update_frequency)
        if solver == "ccp" and find_spec("cvxpy") is None:
            raise MissingExtraError("NashMTL with solver: ccp", "cvxpy", "solvers")
        self.max_norm = max_norm
        self.max_iterations = max_iterations
        self._solve = nash_ccp if solver == "ccp" else nash

    @property
    def promises(self) -> Promises:
        return Promises(non_conflicting=True, scale="per_task", descends_mean=True)

    def solve(self, observation: Observation) -> Decision:
        gram = observation.require_gram()
        solution = self._solve(gram, observation.precision, self.max_iterations)
        gains = gram @ solution.weights
        squared = max(float(solution.weights @ gains), 0.0)
        records = {
            "nash_objective": float(np.log(gains).sum()) if (gains > 0.0).all() else -math.inf,
            "nash_slack": min(max(1.0 - squared / len(gram), 0.0), 1.0),
        }
        return Decision(solution.weights * self._clip(math.sqrt(squared)), solution=solution, records=records)

    def _clip(self, length: float) -> float:
        """The factor that brings a direction of this length down to `max_norm`."""
        return self.max_norm / length if 0.0 < self.max_norm < length else 1.0
