"""PCD: a primary task's gradient, bent as little as possible so that every other task makes some progress."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.nonnegative_qp import nonnegative_qp
from coral_mtl.engine.solvers.solution import Solution, Status
from coral_mtl.engine.strategy import GradientStrategy, State
from coral_mtl.errors import StrategyError
from coral_mtl.options import Fraction, NonNegative, PositiveInt, ProperFraction

_FEASIBLE = 1e-9
"""Shortfall of a constraint, relative to the terms in it, up to which it counts as met."""


@registry.strategies.register
class PCD(GradientStrategy):
    """The primary task's gradient, moved the least distance that gives every secondary task its share of progress.

    With h_t = g_t / sqrt(v_t + epsilon), v_t the bias-corrected average of |g_t|^2 over past steps, and p the primary:
    min |d - h_p|^2 subject to <h_t, d> >= tau |h_t|^2 for t != p; then d is brought to the length of g_p.

    Where no direction gives all of them their share, d = g_p (FALLBACK). Where the solution vanishes to within
    rounding, or the primary task is absent or has no gradient, the shared parameters rest (STATIONARY). The primary
    itself may be hurt where the secondary tasks leave no other way.
    """

    convention = "own"
    steady = "at bounds"
    paper = (
        "Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical Multi-Objective Optimization "
        "(TMLR 2026)"
    )

    def __init__(
        self,
        *,
        primary: str | None = None,
        tau: Fraction = 0.02,
        beta: ProperFraction = 0.999,
        epsilon: NonNegative = 0.0,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set who comes first, and what the others are owed.

        Args:
            primary: name of the primary task (default: the first task of the run).
            tau: progress owed to a secondary task, as a share of what its own normalised gradient would give (default
                0.02).
            beta: share of the past in the average of squared gradient norms (default 0.999).
            epsilon: added to that average, in squared gradients; the published code has 1e-8, which makes the direction
                depend on the scale of the losses (default 0).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.primary = primary
        self.tau = tau
        self.beta = beta
        self.epsilon = epsilon
        self._first = primary
        self._squares: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    @property
    def promises(self) -> Promises:
        return Promises(scale="none" if self.epsilon else "per_task", permutation=self.primary is not None)

    def bind(self, tasks: Sequence[str]) -> None:
        self._first = self._first or tasks[0]
        if self._first not in tasks:
            raise StrategyError(
                f"PCD: the primary task {self._first!r} is none of this run\n    tasks of this run: {', '.join(tasks)}",
                option="primary",
            )

    def solve(self, observation: Observation) -> Decision:
        tasks = observation.tasks
        self._first = self._first or tasks[0]
        self._average(tasks, observation.norms)
        if self._first not in tasks:
            resting = np.zeros(len(tasks))
            return Decision(resting, solution=Solution(resting, Status.STATIONARY, 0.0, 0))
        cosines, norms = cosine_matrix(observation.require_gram())
        lengths = norms / np.sqrt(self._mean_squares(tasks) + self.epsilon)
        place = tasks.index(self._first)
        x, solution = _bend(cosines, lengths, place, self.tau)
        length = math.sqrt(max(float(x @ cosines @ x), 0.0))
        if length**2 <= len(x) * observation.precision * float(x.sum()) ** 2:
            return Decision(np.zeros(len(x)), solution=replace(solution, status=Status.STATIONARY))
        return Decision(x / norms * (norms[place] / length), solution=solution)

    def reset(self) -> None:
        super().reset()
        self._squares, self._counts = {}, {}

    def state_dict(self) -> State:
        own = {"first": self._first, "squares": dict(self._squares), "counts": dict(self._counts)}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._first = self.primary or state["first"]
        self._squares = dict(state["squares"])
        self._counts = dict(state["counts"])

    def _average(self, tasks: Sequence[str], norms: np.ndarray) -> None:
        for task, norm in zip(tasks, norms.tolist(), strict=True):
            self._squares[task] = self.beta * self._squares.get(task, 0.0) + (1.0 - self.beta) * norm**2
            self._counts[task] = self._counts.get(task, 0) + 1

    def _mean_squares(self, tasks: Sequence[str]) -> np.ndarray:
        return np.array([self._squares[task] / (1.0 - self.beta ** self._counts[task]) for task in tasks])


def _bend(cosines: np.ndarray, lengths: np.ndarray, place: int, tau: float) -> tuple[np.ndarray, Solution]:
    """Return x with d = sum_t x_t u_t on the unit gradients, and how it was solved for.

    d = h_p + sum_t z_t u_t with z >= 0 minimising 1/2 z'Cz + z'q, q_t = <u_t, h_p> - tau |h_t|: the dual problem.
    """
    others = np.arange(len(lengths)) != place
    matrix = cosines[np.ix_(others, others)]
    linear = cosines[others, place] * lengths[place] - tau * lengths[others]
    dual = nonnegative_qp(matrix, linear)
    x = np.zeros(len(lengths))
    x[place] = lengths[place]
    shortfall = np.max(-(matrix @ dual.weights + linear), initial=0.0)
    if not shortfall <= _FEASIBLE * (lengths[place] + tau * lengths.max()):
        return x, replace(dual, weights=x, status=Status.FALLBACK)
    x[others] = dual.weights
    return x, replace(dual, weights=x)
