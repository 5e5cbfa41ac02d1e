"""MGDA: the steepest direction that descends every task, the min-norm point of the gradients' convex hull."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.min_norm import min_norm, min_norm_pgd, min_norm_qp
from coral_mtl.engine.solvers.solution import Solution
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.errors import MissingExtraError, StrategyError
from coral_mtl.options import Positive, PositiveInt

MinNormSolver = Literal["auto", "active_set", "qp", "pgd"]


@registry.strategies.register
class MGDA(GradientStrategy):
    """The convex combination of the tasks' gradients that has the least norm.

    w = argmin |sum_t w_t g_t / s_t|^2 over w >= 0, sum_t w_t = 1;  d = sum_t (w_t / s_t) g_t, with s_t = 1 (`none`),
    |g_t| (`l2`), l_t (`loss`) or l_t |g_t| (`loss+`).

    <g_t, d> >= s_t |d|^2, so no task is hurt unless the gradients are Pareto stationary; there d vanishes and the
    status is STATIONARY. d carries the length of the normalised gradients, not of the raw ones: with `l2` |d| <= 1,
    however long they are. Without normalisation the smallest gradient bounds |d|.

    Raises StrategyError at a step whose losses are not positive where `normalization` divides by them.
    """

    convention = "mean"
    steady = "at bounds"
    paper = (
        "Sener and Koltun: Multi-Task Learning as Multi-Objective Optimization (NeurIPS 2018), equation 3; "
        "Desideri: Multiple-gradient descent algorithm (MGDA) for multiobjective optimization (2012)"
    )

    def __init__(
        self,
        *,
        normalization: Literal["none", "l2", "loss", "loss+"] = "none",
        solver: MinNormSolver = "auto",
        max_iterations: PositiveInt = 5000,
        tolerance: Positive = 1e-8,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the problem and its solver.

        Args:
            normalization: what each gradient is divided by before the norm is minimised: nothing, its norm, its loss,
                or both (default none).
            solver: active_set, exact; qp, the interior-point method of cvxopt (optional extra); pgd, projected gradient
                descent; auto takes active_set (default auto).
            max_iterations: gradient steps of `solver: pgd` at most (default 5000).
            tolerance: duality gap, in cosines, at which `solver: pgd` stops (default 1e-8).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).

        Raises:
            MissingExtraError: `solver: qp` without cvxopt.
        """
        super().__init__(update_frequency=update_frequency)
        self.normalization = normalization
        self.solver = solver
        self._min_norm = min_norm_solver("MGDA", solver, max_iterations, tolerance)

    @property
    def promises(self) -> Promises:
        return Promises(
            non_conflicting=self.solver in EXACT,
            scale="per_task" if self.normalization == "l2" else "common",
            simplex=self.normalization == "none",
            descends_mean=True,
        )

    def unused_options(self) -> dict[str, str]:
        if self.solver == "pgd":
            return {}
        return dict.fromkeys(("max_iterations", "tolerance"), "only solver: pgd reads it")

    def solve(self, observation: Observation) -> Decision:
        divisors = self._divisors(observation)
        normalised = observation.require_gram() / divisors / divisors[:, None]
        solution = self._min_norm(normalised, observation.precision)
        return Decision(solution.weights / divisors, solution=solution)

    def _divisors(self, observation: Observation) -> np.ndarray:
        divisors = np.ones(len(observation.tasks))
        if self.normalization.startswith("loss"):
            _require_positive(observation)
            divisors = divisors * observation.losses
        if self.normalization in ("l2", "loss+"):
            divisors = divisors * observation.norms
        return divisors


EXACT = ("auto", "active_set")
"""Solvers whose result is accurate enough to promise that no task is hurt; `qp` and `pgd` stop at a tolerance."""


def min_norm_solver(
    strategy: str, solver: MinNormSolver, max_iterations: int = 5000, tolerance: float = 1e-8
) -> Callable[[np.ndarray, float], Solution]:
    """Return the function (Gram matrix, precision) -> Solution that `solver` names.

    Raises:
        MissingExtraError: `qp` without cvxopt.
    """
    if solver == "qp":
        if find_spec("cvxopt") is None:
            raise MissingExtraError(f"{strategy} with solver: qp", "cvxopt", "solvers")
        return min_norm_qp
    if solver == "pgd":
        return lambda gram, precision: min_norm_pgd(gram, precision, max_iterations, tolerance)
    return min_norm


def _require_positive(observation: Observation) -> None:
    for task, loss in zip(observation.tasks, observation.losses, strict=True):
        if not loss > 0.0:
            raise StrategyError(
                f"MGDA: normalization divides by the loss of {task!r}, which is {loss:g}\n"
                "    losses must be positive here; take normalization: none or l2, or shift the loss",
                option="normalization",
            )
