"""The point of least norm among the convex combinations of the gradients in which no weight exceeds a cap.

With unit gradients, x_i = w_i n_i / n_min and p_i = n_min / n_i as in `min_norm.py`, the problem reads

    min 1/2 x'Cx   subject to   0 <= x <= cap / p,  p'x = 1.

w solves it if and only if there is a nu with <g_i, g_w> >= nu where w_i = 0, = nu in between, and <= nu where
w_i = cap.
"""

import math

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.simplex import project_capped_simplex
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-9
"""Residual up to which a solution counts as solved."""

_SHORTEST = 1e-100
"""Norm, in units of the longest, below which all are alike, so that squares do not underflow."""


def capped_min_norm(gram: np.ndarray, cap: float, precision: float = DOUBLE) -> Solution:
    """Return the weights w of the least |sum_i w_i g_i| over 0 <= w <= cap, sum_i w_i = 1, by an active-set method.

    Where cap <= 1/T all weights are 1/T. The residual is the largest violation of the condition above, in cosines:
    (nu - <g_i, g_w>)/(n_i |g_w|) where w_i < cap and its negative where w_i > 0; above 1e-9 the status is INACCURATE.
    It is STATIONARY where g_w vanishes to within the rounding of the Gram matrix. Where gradients are duplicated the
    weights are not unique, the point is.

    Args:
        gram: (T, T) inner products of the gradients.
        cap: upper bound of every weight.
        precision: relative rounding error of the entries of `gram`.
    """
    size = len(gram)
    if cap * size <= 1.0:
        return Solution(np.full(size, 1.0 / size), Status.SOLVED, 0.0, 0)
    uncapped = min_norm(gram, precision)
    if uncapped.weights.max() <= cap:
        return uncapped
    cosines, norms = cosine_matrix(gram)
    present = norms > 0.0
    if not present.all():
        return _beside_zeros(gram, cap, precision, present)
    problem = _Problem(cosines, np.maximum(norms / norms.max(), _SHORTEST), cap)
    x, iterations = problem.solve(project_capped_simplex(uncapped.weights, cap))
    residual, stationary = problem.certificate(x, precision)
    status = Status.SOLVED if residual <= _SOLVED else Status.INACCURATE
    weights = np.minimum(x / problem.sizes, cap)
    return Solution(weights, Status.STATIONARY if stationary else status, residual, uncapped.iterations + iterations)


def _beside_zeros(gram: np.ndarray, cap: float, precision: float, present: np.ndarray) -> Solution:
    """Gradients that are zero take all they may, and the others share the rest."""
    rest = 1.0 - cap * np.count_nonzero(~present)
    weights = np.full(len(gram), cap)
    others = capped_min_norm(gram[np.ix_(present, present)], cap / rest, precision)
    weights[present] = rest * others.weights
    return Solution(weights, others.status, others.residual, others.iterations)


class _Problem:
    """C and x_i = w_i n_i, with the norms n_i in units of the longest."""

    def __init__(self, cosines: np.ndarray, sizes: np.ndarray, cap: float) -> None:
        self.cosines = cosines
        self.sizes = sizes
        self.bounds = cap * sizes
        self.prices = sizes.min() / sizes
        self.total = float(sizes.min())

    def solve(self, weights: np.ndarray) -> tuple[np.ndarray, int]:
        """Free the bound that its slope presses on most, and fix those that block the way to the minimum."""
        x = weights * self.sizes
        free = (weights > 0.0) & (x < self.bounds)
        barred = np.zeros(len(x), dtype=bool)  # freed in vain since x last moved
        iterations = 0
        while iterations < 30 * len(x):
            iterations += 1
            target = self._minimum(x, free)
            fractions = self._fractions(x, target, free)
            first = int(np.argmin(fractions))
            blocked, fraction = fractions[first] < np.inf, min(float(fractions[first]), 1.0)
            moved = np.clip(np.where(free, (1.0 - fraction) * x + fraction * target, x), 0.0, self.bounds)
            barred &= bool((moved == x).all())
            x = moved
            if blocked:
                x[first] = self.bounds[first] if target[first] > 0.0 else 0.0
                free[first], barred[first] = False, True
                continue
            pressure = np.where(free | barred, 0.0, self._pressure(x, free))
            pressing = pressure > 8.0 * len(x) * DOUBLE * x.sum()
            if not pressing.any():
                break
            free[np.argmax(np.where(pressing, pressure / self.prices, 0.0))] = True
        return x, iterations

    def certificate(self, x: np.ndarray, precision: float) -> tuple[float, bool]:
        """Return the residual of x, and whether g_w is zero to within rounding."""
        free = (x > 0.0) & (x < self.bounds)
        squared, floor = float(x @ self.cosines @ x), len(x) * precision * float(x.sum()) ** 2
        worst = max(float(self._pressure(x, free).max()), 0.0)
        return worst / math.sqrt(max(squared, floor)), squared <= floor

    def _minimum(self, x: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Minimise over the free tasks under p'x = n_min, the others staying, bounds ignored."""
        index = np.flatnonzero(free)
        if not index.size:
            return x
        fixed = np.where(free, 0.0, x)
        prices = self.prices[index] / self.prices[index].max()
        rest = (self.total - float(self.prices @ fixed)) / float(self.prices[index].max())
        system = np.zeros((index.size + 1, index.size + 1))
        system[:-1, :-1] = self.cosines[np.ix_(index, index)]
        system[:-1, -1] = system[-1, :-1] = prices
        right = np.append(-(self.cosines @ fixed)[index], rest)
        try:
            solved = np.linalg.solve(system, right)
        except np.linalg.LinAlgError:
            solved = np.linalg.lstsq(system, right, rcond=None)[0]
        target = x.copy()
        target[index] = solved[:-1]
        return target

    def _fractions(self, x: np.ndarray, target: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Which part of the way to the target each task may go, infinite where the target is within its bounds."""
        beyond = free & ((target < 0.0) | (target > (1.0 + 4.0 * len(x) * DOUBLE) * self.bounds))
        room = np.where(target < 0.0, x, self.bounds - x)
        return np.where(beyond, room / np.where(beyond, np.abs(target - x), 1.0), np.inf)

    def _pressure(self, x: np.ndarray, free: np.ndarray) -> np.ndarray:
        """How far the slopes violate the optimality condition, for the nu that fits best."""
        slopes, prices = self.cosines @ x, self.prices
        if free.any():
            nu = float(prices[free] @ slopes[free]) / float(prices[free] @ prices[free])
        else:
            nu = 0.5 * float((slopes / prices)[x > 0.0].max() + (slopes / prices)[x == 0.0].min())
        excess = slopes - nu * prices
        return np.where(free, np.abs(excess), np.where(x > 0.0, excess, -excess))
