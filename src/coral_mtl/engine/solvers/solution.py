"""What every solver returns: weights, and an honest account of how good they are."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """Outcome of a solve."""

    SOLVED = "solved"
    """The optimality conditions hold to the solver's tolerance."""
    STATIONARY = "stationary"
    """The gradients are (numerically) Pareto stationary: some convex combination of them vanishes."""
    INACCURATE = "inaccurate"
    """The solver stopped early: iteration limit, or the rounding floor of its input; `residual` says how far off."""
    FALLBACK = "fallback"
    """The solver failed and the weights come from the strategy's documented fallback."""

    @property
    def advice(self) -> str:
        """What a reader of this status should do."""
        return _ADVICE[self]


_ADVICE = {
    Status.SOLVED: "nothing to do",
    Status.STATIONARY: "no direction improves all tasks at once; if it persists, training has converged to a trade-off",
    Status.INACCURATE: "raise max_iterations or take the default solver; near stationarity this is the rounding floor",
    Status.FALLBACK: "look at the Gram matrix of this step in the record: it was too ill-conditioned to solve",
}


@dataclass(frozen=True, slots=True)
class Solution:
    """Weights of a solved problem with their certificate.

    `weights` is (T,) float64. `residual` is the scale-free violation of the solver's own optimality condition, which
    its docstring names. `iterations` counts linear solves or gradient steps.
    """

    weights: np.ndarray
    status: Status
    residual: float
    iterations: int
