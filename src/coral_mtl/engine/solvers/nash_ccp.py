"""Nash-MTL's bargaining solution by the published concave-convex procedure, the cross-check of `nash.py`."""

import warnings
from dataclasses import replace

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.nash import nash
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-6
"""Residual up to which a solution counts as solved: what interior-point methods reach."""

_TOLERANCES = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def nash_ccp(gram: np.ndarray, precision: float = DOUBLE, max_iterations: int = 50) -> Solution:
    """Return the bargaining weights a with M a = 1/a by a sequence of convex programs (Navon et al. 2022, section 3.2).

    With phi_i(b) = log b_i + log (C b)_i, where C is the cosine matrix and a_i = b_i / |g_i|, each program minimises
    sum_i (C b)_i plus the linearisation of sum_i phi_i at the last b, over phi(b) >= 0; the first has no linearisation.
    At the solution phi(b) = 0. cvxpy states the programs and Clarabel, which comes with it, solves them. On the cosine
    matrix the result does not depend on the scale of any gradient, which the published code on M does.

    The residual is max_i |b_i (C b)_i - 1|. Where it is above 1e-6 after `max_iterations` programs, or a program fails,
    as it does at Pareto-stationary points, which have no solution, the weights are those of `nash`, with its status if
    that is STATIONARY and FALLBACK if not. A gradient that is exactly zero gets the weight 0.

    Args:
        gram: (T, T) inner products of the gradients.
        precision: relative rounding error of its entries.
        max_iterations: convex programs to solve at most.

    Raises:
        ImportError: cvxpy is not installed.
    """
    cosines, norms = cosine_matrix(gram)
    present = norms > 0.0
    if present.any():
        share, residual, iterations = _concave_convex(cosines[np.ix_(present, present)], max_iterations)
        if residual <= _SOLVED:
            weights = np.zeros(len(gram))
            weights[present] = share / norms[present]
            return Solution(weights, Status.SOLVED, residual, iterations)
    fallback = nash(gram, precision)
    return fallback if fallback.status is Status.STATIONARY else replace(fallback, status=Status.FALLBACK)


def _concave_convex(cosines: np.ndarray, max_iterations: int) -> tuple[np.ndarray, float, int]:
    """Return the best b, its residual (infinite where the first program fails), and the number of programs solved."""
    import cvxpy  # noqa: PLC0415 - an optional extra

    size = len(cosines)
    b = cvxpy.Variable(size)
    gains = cosines @ b
    slope = cvxpy.Parameter(size, value=np.zeros(size))
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(gains) + slope @ b), [cvxpy.log(b) + cvxpy.log(gains) >= 0])
    best, least = np.zeros(size), np.inf
    for iteration in range(1, max_iterations + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a solution may be inaccurate: the residual says whether it is
                program.solve(solver=cvxpy.CLARABEL, **_TOLERANCES)
        except cvxpy.error.SolverError:
            return best, least, iteration
        share = b.value
        if share is None or share.min() <= 0.0 or (cosines @ share).min() <= 0.0:
            return best, least, iteration
        residual = float(np.abs(share * (cosines @ share) - 1.0).max())
        if residual > 0.9 * least:
            return best, least, iteration
        best, least = share, residual
        slope.value = 1.0 / share + cosines @ (1.0 / (cosines @ share))
    return best, least, max_iterations
