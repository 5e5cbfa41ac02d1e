"""MGDA's problem: the point of least norm in the convex hull of the gradients (Desideri 2012; Sener and Koltun 2018).

With unit gradients u_i = g_i/n_i and x_i = w_i n_i / n_min the problem  min |G'w|^2, w on the simplex,  reads

    min 1/2 x'Cx   subject to   x >= 0,  p'x = 1,     p_i = n_min / n_i,

which depends on scales through the prices p only. w solves it if and only if every task has <g_i, g_w> >= |g_w|^2, with
equality where w_i > 0. All solvers here measure their residual by that condition, in cosines:

    residual = max_i  |g_w|/n_i - cos(g_i, g_w),

the duality gap |g_w|^2 - <g_i, g_w> relative to each task's own scale. Where g_w vanishes to within the rounding of the
Gram matrix, |g_w|^2 <= T * precision * (sum_i w_i n_i)^2, the gradients are Pareto stationary, and that bound replaces
|g_w|^2 in the residual.
"""

import math
from collections.abc import Callable

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.nonnegative_qp import nonnegative_qp
from coral_mtl.engine.solvers.simplex import project_simplex
from coral_mtl.engine.solvers.solution import Solution, Status

_EXACT = 1e-9
_INTERIOR_POINT = 1e-6
"""Residuals up to which the exact and the interior-point method count as solved."""

Method = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, int, bool]]
"""(C, p) -> (x up to a factor, or zero where it failed; iterations; whether it came to its end)."""


def min_norm(gram: np.ndarray, precision: float = DOUBLE) -> Solution:
    """Return the weights of the min-norm point, exactly: in closed form for T <= 2, by an active set on C otherwise.

    The constraint p'x = 1 is replaced by the penalty 1/2 (p'x - 1)^2, which changes the length of x but not its
    direction and keeps the problem bounded at stationary points. A gradient that is exactly zero is itself the min-norm
    point. Never fails; where gradients are duplicated the weights are not unique, the point is.

    Args:
        gram: (T, T) inner products of the gradients.
        precision: relative rounding error of its entries.
    """
    return _solve(gram, precision, _EXACT, _exact)


def min_norm_qp(gram: np.ndarray, precision: float = DOUBLE) -> Solution:
    """Return the weights of the min-norm point by the interior-point method of cvxopt, a cross-check of `min_norm`.

    INACCURATE where its residual is above 1e-6; where it breaks down the weights are those of `min_norm` (FALLBACK).

    Args:
        gram: (T, T) inner products of the gradients.
        precision: relative rounding error of its entries.

    Raises:
        ImportError: cvxopt is not installed.
    """
    return _solve(gram, precision, _INTERIOR_POINT, _interior_point)


def min_norm_pgd(
    gram: np.ndarray, precision: float = DOUBLE, max_iterations: int = 5000, tolerance: float = 1e-8
) -> Solution:
    """Return the weights of the min-norm point by accelerated projected gradient descent with restarts.

    The step is one over the largest eigenvalue of C; projections are exact. It stops once the duality gap, measured in
    cosines as the residual above, is below `tolerance`, and is INACCURATE where it did not get there.

    Args:
        gram: (T, T) inner products of the gradients.
        precision: relative rounding error of its entries.
        max_iterations: gradient steps to take at most.
        tolerance: residual to reach.
    """
    return _solve(gram, precision, tolerance, lambda C, p: _projected_gradient(C, p, max_iterations, tolerance))


def _solve(gram: np.ndarray, precision: float, tolerance: float, method: Method) -> Solution:
    """Scale the problem, let `method` solve it, scale back, and certify the result."""
    cosines, norms = cosine_matrix(gram)
    if not norms.all():
        zero = (norms == 0.0).astype(np.float64)
        return Solution(zero / zero.sum(), Status.STATIONARY, 0.0, 0)
    prices = norms.min() / norms
    x, iterations, finished = method(cosines, prices)
    failed = not x.any()
    if failed:
        x = _exact(cosines, prices)[0]
    residual, stationary = _certificate(cosines, prices, x, precision)
    if stationary:
        status = Status.STATIONARY
    elif failed:
        status = Status.FALLBACK
    else:
        status = Status.SOLVED if finished and residual <= tolerance else Status.INACCURATE
    weights = x * prices
    return Solution(weights / weights.sum(), status, residual, iterations)


def _certificate(cosines: np.ndarray, prices: np.ndarray, x: np.ndarray, precision: float) -> tuple[float, bool]:
    """Return the residual of x, and whether x'Cx is zero to within rounding."""
    x = x / x.sum()
    slopes = cosines @ x
    squared = max(float(x @ slopes), 0.0)
    floor = len(x) * precision
    gap = squared / (prices @ x) * prices - slopes
    return max(float(gap.max()), 0.0) / math.sqrt(max(squared, floor)), squared <= floor


def _exact(cosines: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, int, bool]:
    if len(prices) <= 2:
        return _two(cosines, prices), 0, True
    program = nonnegative_qp(cosines + np.outer(prices, prices), -prices)
    weights = program.weights if program.weights.any() else np.ones(len(prices))  # none: C is not semidefinite
    residual = _certificate(cosines, prices, weights, DOUBLE)[0]
    if residual <= _EXACT:
        return weights, program.iterations, True
    # Beside far shorter gradients, long ones that cancel have prices too small to see; among equals they show.
    among_equals = nonnegative_qp(cosines + 1.0, -np.ones(len(prices)))
    if among_equals.weights.any() and _certificate(cosines, prices, among_equals.weights, DOUBLE)[0] < residual:
        weights = among_equals.weights
    return weights, program.iterations + among_equals.iterations, True


def _two(cosines: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """The closed form w_1 = (M_22 - M_12) / (M_11 + M_22 - 2 M_12), clipped to [0, 1]."""
    if len(prices) == 1:
        return np.ones(1)
    first = prices[0] - cosines[0, 1] * prices[1]
    second = prices[1] - cosines[0, 1] * prices[0]
    x = np.maximum([first, second], 0.0)
    return x if x.any() else np.ones(2)


def _interior_point(cosines: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, int, bool]:
    from cvxopt import matrix, solvers  # noqa: PLC0415 - an optional extra

    size = len(prices)
    options = {"show_progress": False, "abstol": 1e-15, "reltol": 1e-14, "feastol": 1e-14, "maxiters": 200}
    try:
        result = solvers.qp(
            matrix(cosines),
            matrix(np.zeros(size)),
            matrix(-np.eye(size)),
            matrix(np.zeros(size)),
            matrix(prices[None, :]),
            matrix(1.0),
            options=options,
        )
    except (ArithmeticError, ValueError):  # how cvxopt says that its linear systems are singular
        return np.zeros(size), 0, False
    return np.maximum(np.array(result["x"]).ravel(), 0.0), result["iterations"], True


def _projected_gradient(
    cosines: np.ndarray, prices: np.ndarray, max_iterations: int, tolerance: float
) -> tuple[np.ndarray, int, bool]:
    """Nesterov's method on x, restarted whenever the momentum points uphill (O'Donoghue and Candes 2015)."""
    step = 1.0 / np.linalg.eigvalsh(cosines)[-1]
    x = ahead = project_simplex(np.zeros(len(prices)), prices)
    momentum = 1.0
    for iteration in range(max_iterations):
        if _certificate(cosines, prices, x, DOUBLE)[0] <= tolerance:
            return x, iteration, True
        following = project_simplex(ahead - step * (cosines @ ahead), prices)
        if (ahead - following) @ (following - x) > 0.0:
            momentum = 1.0
            following = project_simplex(x - step * (cosines @ x), prices)
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = following + (momentum - 1.0) / grown * (following - x)
        x, momentum = following, grown
    return x, max_iterations, False
