"""CAGrad's inner problem and its variants in IMGrad, reduced to one scalar root (Liu et al. 2021, Algorithm 1).

All of them choose w on the simplex and step to the edge of a ball around the mean gradient g_0:

    w = argmin  <g_w, g_0> + pull * c |g_0| |g_w| + curvature/2 |g_w|^2,        d = g_0 + c |g_0| g_w / |g_w|.

In units of |g_0|, with unit gradients u_i = g_i / n_i, kappa_i = cos(g_i, g_0), t_i = |g_0| / n_i and C the cosine
matrix, the optimality conditions say that the correction y (w_i is proportional to y_i t_i) solves, for one number nu,

    y(nu) = argmin over y >= 0 of  1/2 y'Cy + (kappa - nu t)'y,        |U'y| (1 - curvature / t'y) = pull * c.

The left side grows with nu, and its slope is known from one linear solve, so nu is found by a bracketed Newton method.
Nothing here has a scale.
"""

import math

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.nonnegative_qp import nonnegative_qp
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-9
"""Residual up to which a solution counts as solved."""

_FINE = 1e-13
_MOST_PROGRAMS = 100

_SEEN = 0.03
"""Share of the largest possible rounding error in |U'y|^2 that is usually met."""


def cagrad(
    gram: np.ndarray, c: float, *, pull: float = 1.0, curvature: float = 0.0, precision: float = DOUBLE
) -> Solution:
    """Return the coefficients of d = g_0 + c |g_0| g_w / |g_w| on the gradients, g_0 being their mean.

    CAGrad itself has pull 1 and curvature 0. With an infinite pull or curvature g_w is the min-norm point, with pull 0
    and no curvature it is the gradient with the least <g_i, g_0>. At Pareto-stationary points the status is STATIONARY,
    and d = 0 if pull * c >= 1, since no step improves all tasks there. A gradient that is exactly zero gets the weight
    0 and does not count in the mean.

    The residual is the larger of the violation of the conditions on y and of the relative error of the scalar equation;
    above 1e-9 the status is INACCURATE. That happens near Pareto-stationary points with pull * c > 1, where the Gram
    matrix tells |g_w|^2 to within its rounding only: |d - g_0| is then off by about precision * (|g_i| / |g_m|)^2. With
    pull 1 and no curvature <g_i, d> >= 0 holds all the same.

    Args:
        gram: (T, T) inner products of the gradients.
        c: radius of the ball in units of |g_0|.
        pull: weight of the term in |g_w|.
        curvature: weight of the term in |g_w|^2.
        precision: relative rounding error of the entries of `gram`.
    """
    cosines, norms = cosine_matrix(gram)
    present = norms > 0.0
    weights = np.zeros(len(gram))
    if not present.any():
        return Solution(weights, Status.STATIONARY, 0.0, 0)
    problem = _Problem(cosines[np.ix_(present, present)], norms[present] / norms.max())
    if problem.mean_norm == 0.0:
        weights[present] = 1.0 / problem.size
        return Solution(weights, Status.STATIONARY, 0.0, 0)
    fairest = min_norm(gram[np.ix_(present, present)], precision)
    stationary = fairest.status is Status.STATIONARY
    if stationary and (pull * c >= 1.0 or math.isinf(curvature)):
        return Solution(weights, Status.STATIONARY, fairest.residual, fairest.iterations)
    correction, residual, iterations = problem.correction(pull * c, curvature, fairest.weights, stationary)
    weights[present] = 1.0 / problem.size + c * correction * problem.ratios
    if stationary:
        return Solution(weights, Status.STATIONARY, residual, iterations)
    return Solution(weights, Status.SOLVED if residual <= _SOLVED else Status.INACCURATE, residual, iterations)


class _Problem:
    """C, kappa and t of the problem, for gradients scaled so that the longest has norm 1."""

    def __init__(self, cosines: np.ndarray, norms: np.ndarray) -> None:
        self.cosines = cosines
        self.norms = norms
        self.size = len(norms)
        along_mean = cosines @ norms / self.size
        self.mean_norm = math.sqrt(max(float(norms @ along_mean), 0.0) / self.size)
        if self.mean_norm > 0.0:
            self.kappa = along_mean / self.mean_norm
            self.ratios = self.mean_norm / norms

    def correction(
        self, radius: float, curvature: float, fairest: np.ndarray, stationary: bool
    ) -> tuple[np.ndarray, float, int]:
        """Return y / |U'y|, its residual, and the number of nonnegative programs solved.

        The objective at any w bounds nu, most tightly at the steepest vertex or at the min-norm point `fairest`.
        """
        worst = int(np.argmin(self.kappa / self.ratios))
        steepest = np.eye(self.size)[worst]
        if radius == 0.0 and curvature == 0.0:
            return steepest, 0.0, 0
        x = fairest * self.norms
        if math.isinf(radius) or math.isinf(curvature):
            return self._unit(x), 0.0, 0
        low, price = self._objective(steepest, radius, curvature)
        value, fair_price = self._objective(x, radius, curvature)
        linear, anchor = self.kappa.copy(), 0.0
        if radius < 1e-3:  # nu is close to `low`, and told from there
            anchor = low
            linear -= anchor * self.ratios
            linear[worst] = 0.0
        low, value = low - anchor, value - anchor
        high = min(low + price, value + fair_price)
        if curvature > 0.0:
            high = 2.0 * high - low
        if stationary:  # from nu = 0 on, the program is unbounded in exact arithmetic
            high = min(high, -1e-8 * float(x.sum() / (self.ratios @ x)) - anchor)
        return self._root(linear, low, high, radius, curvature)

    def _root(
        self, linear: np.ndarray, low: float, high: float, radius: float, curvature: float
    ) -> tuple[np.ndarray, float, int]:
        """Find nu in (low, high] for which y = argmin 1/2 y'Cy + (linear - nu t)'y meets the scalar equation."""
        following, passive = high, None
        iterations, settled = 0, False
        while not settled:
            nu, iterations = following, iterations + 1
            program = nonnegative_qp(self.cosines, linear - nu * self.ratios, passive)
            passive = program.weights > 0.0
            error, step = self._newton(program.weights, passive, radius, curvature)
            low, high = (low, nu) if error > 0.0 else (nu, high)
            following = nu - step if low < nu - step < high else 0.5 * (low + high)
            narrow = high - low <= 4.0 * DOUBLE * max(abs(low), abs(high))
            settled = (
                abs(error) <= max(_FINE, self._rounding(program.weights)) or narrow or iterations == _MOST_PROGRAMS
            )
        y = program.weights  # divided by what |U'y| ought to be: by its own value d would lose <g_i, d> = nu |g_0|^2
        correction = y / radius if curvature == 0.0 else self._unit(y)
        return correction, max(program.residual, abs(error)), iterations

    def _newton(self, y: np.ndarray, passive: np.ndarray, radius: float, curvature: float) -> tuple[float, float]:
        """Return the error of the scalar equation, relative to its terms, and the step in nu that would mend it."""
        length, total = self._norm(y), float(self.ratios @ y)
        if length == 0.0 or total <= 0.0:
            return -1.0, math.inf
        error = length * (1.0 - curvature / total) - radius
        slope = (total - curvature) / length
        if curvature > 0.0:
            active = self.ratios[passive]
            growth = float(active @ np.linalg.lstsq(self.cosines[passive][:, passive], active, rcond=None)[0])
            slope += length * curvature * growth / total**2
        return error / (radius + length), error / slope if slope > 0.0 else math.inf

    def _rounding(self, y: np.ndarray) -> float:
        """The relative error of |U'y| that the rounding of C explains: large where long terms of U'y cancel."""
        squared = float(y @ (self.cosines @ y))
        return _SEEN * DOUBLE * float(y.sum()) ** 2 / squared if squared > 0.0 else 0.0

    def _objective(self, x: np.ndarray, radius: float, curvature: float) -> tuple[float, float]:
        """The objective, in units of |g_0|^2, at the w proportional to x_i / n_i: <g_w, g_0>, and the other terms."""
        total = float(self.ratios @ x)
        length = self._norm(x) / total
        return float(self.kappa @ x) / total, radius * length + 0.5 * curvature * length**2

    def _norm(self, y: np.ndarray) -> float:
        return math.sqrt(max(float(y @ (self.cosines @ y)), 0.0))

    def _unit(self, y: np.ndarray) -> np.ndarray:
        length = self._norm(y)
        return y / length if length > 0.0 else np.zeros(self.size)
