"""Nash-MTL's bargaining solution: the weights a > 0 with M a = 1/a (Navon et al. 2022, claim 3.1).

They are the minimiser of the strictly convex f(a) = 1/2 a'Ma - sum_i log a_i, so they are unique, and they exist unless
the gradients are Pareto stationary. With a_i = b_i / n_i the problem becomes C b = 1/b in the cosine matrix C: the
direction does not depend on the scale of any gradient, every task gains <g_i, d> = 1/a_i > 0, and |d|^2 = T.

Towards Pareto stationarity b grows without bound while |d| stays at sqrt(T), which would turn the rounding of the
gradients into full steps. So the problem solved first is (C + ridge I) b = 1/b, with a ridge a little above what the
rounding of C can account for. It always has a solution, and of each task's equation

    b_i (C b)_i + ridge b_i^2 = 1

the ridge takes a share; s is the largest, at most 1. If s <= 1/2 then C b > 0, which proves that the gradients are not
stationary, and the problem is solved again without a ridge. Above that, ridge * (2 s - 1) is kept, so that d is
continuous in M: it falls to what the tasks outside the vanishing combination can gain, and to zero if all are in it.
That half is what `Status.STATIONARY` reports here.
"""

import math

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED, _ROUNDING = 1e-9, 1e-2
"""Residuals up to which a solution counts as solved, and up to which rounding near stationarity may explain it."""

_ROUGH, _FINE = 1e-4, 1e-15
"""Newton decrements: rounding may stop the method below the first, and the step from the second is the last."""

_LARGEST_RIDGE = 1e-2
"""A matrix that needs more than this is no Gram matrix."""


def nash(gram: np.ndarray, precision: float = DOUBLE, max_iterations: int = 50) -> Solution:
    """Return the bargaining weights a with M a = 1/a by a damped Newton method; closed form for T <= 2.

    The residual is max_i |a_i (Ma)_i - 1| on the matrix as given. STATIONARY: see the module's text. INACCURATE: the
    rounding floor, about 2e-16 max_i b_i^2, is above 1e-9. Where Newton's method breaks down, which takes a matrix that
    is not positive semidefinite to within `precision`, the ridge is raised a hundredfold until it holds, and beyond
    0.01 the weights are those of MGDA on unit gradients, at the length that minimises f (FALLBACK). A gradient that is
    exactly zero gets the weight 0 and does not take part.

    Args:
        gram: (T, T) inner products of the gradients.
        precision: relative rounding error of its entries.
        max_iterations: Newton steps to take at most for one ridge.
    """
    cosines, norms = cosine_matrix(gram)
    present = norms > 0.0
    if not present.all():
        return _without_zeros(gram, present, precision, max_iterations)
    share, status, iterations = _bargain(cosines, precision, max_iterations)
    weights = share / norms
    residual = _residual(gram, weights)
    if status is Status.SOLVED and _SOLVED < residual < _ROUNDING:
        weights, residual = _polish(gram, cosines, share, weights, residual)
    if status is Status.SOLVED and residual > _SOLVED:
        status = Status.INACCURATE
    return Solution(weights, status, residual, iterations)


def _residual(gram: np.ndarray, weights: np.ndarray) -> float:
    return float(np.abs(weights * (gram @ weights) - 1.0).max())


def _polish(
    gram: np.ndarray, cosines: np.ndarray, share: np.ndarray, weights: np.ndarray, residual: float
) -> tuple[np.ndarray, float]:
    """Repeat Newton steps on M itself and keep the best weights: only how they are rounded makes a difference here."""
    hessian = share[:, None] * cosines * share
    hessian.flat[:: len(share) + 1] += 1.0
    inverse = np.linalg.inv(hessian)
    best, least = weights, residual
    for _ in range(20):
        weights = weights * (1.0 - inverse @ (weights * (gram @ weights) - 1.0))
        residual = _residual(gram, weights)
        if residual < least:
            best, least = weights, residual
        elif residual > _ROUNDING:
            break
    return best, least


def _without_zeros(gram: np.ndarray, present: np.ndarray, precision: float, max_iterations: int) -> Solution:
    weights = np.zeros(len(gram))
    if not present.any():
        return Solution(weights, Status.STATIONARY, 0.0, 0)
    rest = nash(gram[np.ix_(present, present)], precision, max_iterations)
    weights[present] = rest.weights
    return Solution(weights, rest.status, rest.residual, rest.iterations)


def _bargain(cosines: np.ndarray, precision: float, max_iterations: int) -> tuple[np.ndarray, Status, int]:
    """Return b, the status, and the number of Newton steps taken."""
    ridge = min(len(cosines) * max(1e3 * DOUBLE, 4.0 * precision), _LARGEST_RIDGE)
    if len(cosines) <= 2:
        return *_pair(cosines, ridge), 0
    newton = _Newton(cosines, max_iterations)
    while ridge <= _LARGEST_RIDGE:
        share, kept = _settle(newton, ridge)
        if share is not None:
            return share, Status.STATIONARY if kept else Status.SOLVED, newton.steps
        ridge *= 100.0
    unit = min_norm(cosines, precision)
    return _ray(cosines, _LARGEST_RIDGE, unit.weights), Status.FALLBACK, newton.steps


def _settle(newton: "_Newton", ridge: float) -> tuple[np.ndarray | None, float]:
    """Solve with `ridge`, then with what is to be kept of it; return b, or None where that fails, and what was kept."""
    share = newton.solve(_ray(newton.cosines, ridge, np.ones(len(newton.cosines))), ridge, _ROUGH)
    if share is not None and _taken(share, ridge) > 0.25:
        share = newton.solve(share, ridge, _FINE)
    if share is None:
        return None, 0.0
    kept = _kept(_taken(share, ridge), ridge)
    return newton.solve(share, kept, _FINE), kept


def _pair(cosines: np.ndarray, ridge: float) -> tuple[np.ndarray, Status]:
    """The closed form b_1 = b_2 = (1 + C_12)^(-1/2), and b = 1 for a single task."""
    row = float(cosines[0].sum())
    kept = _kept(ridge / (row + ridge), ridge)
    return np.full(len(cosines), 1.0 / math.sqrt(row + kept)), Status.STATIONARY if kept else Status.SOLVED


def _taken(share: np.ndarray, ridge: float) -> float:
    """The largest share s of a task's equation that the ridge takes."""
    return min(ridge * float(share.max()) ** 2, 1.0)


def _kept(taken: float, ridge: float) -> float:
    return ridge * max(2.0 * taken - 1.0, 0.0)


def _ray(cosines: np.ndarray, ridge: float, b: np.ndarray) -> np.ndarray:
    """The multiple of b that minimises f."""
    squared = max(float(b @ (cosines @ b)), 0.0) + ridge * float(b @ b)
    return b * np.sqrt(len(b) / squared)


class _Newton:
    """Newton's method for f in the relative step p, b <- b (1 - t p).

    In p the Hessian is I + diag(b) C diag(b), whose eigenvalues are at least 1. The decrement p'r, which bounds the
    distance to the minimum because f is self-concordant, is the merit; the residual r is not monotone.
    """

    def __init__(self, cosines: np.ndarray, max_iterations: int) -> None:
        self.cosines = cosines
        self.max_iterations = max_iterations
        self.steps = 0

    def solve(self, b: np.ndarray, ridge: float, accuracy: float) -> np.ndarray | None:
        """Minimise f with `ridge` from b, to where a full step is below `accuracy` or rounding; None where it fails."""
        matrix = self.cosines.copy()
        matrix.flat[:: len(b) + 1] += ridge
        best, least = b, math.inf
        for _ in range(self.max_iterations):
            slope = matrix @ b
            residual = b * slope - 1.0
            hessian = b[:, None] * matrix * b
            hessian.flat[:: len(b) + 1] += 1.0
            try:
                step = np.linalg.solve(hessian, residual)
            except np.linalg.LinAlgError:
                return None
            decrement = float(step @ residual)
            if not 0.0 <= decrement < math.inf:
                return None
            if decrement < accuracy:
                return b * (1.0 - step)
            if decrement > least / 4.0 and decrement < _ROUGH:
                return best
            if decrement < least:
                best, least = b, decrement
            length = 1.0 if decrement < 1e-2 else _length(step, b * step, slope, matrix, decrement)
            b = b * (1.0 - length * step)
            self.steps += 1
        return None


def _length(step: np.ndarray, move: np.ndarray, slope: np.ndarray, matrix: np.ndarray, decrement: float) -> float:
    """Minimise f along b (1 - t p) over t by a safeguarded Newton method."""
    linear, quadratic = float(move @ slope), float(move @ (matrix @ move))
    largest = float(step.max())
    low, high = 0.0, 1.0 / largest if largest > 0.0 else np.inf
    length = 1.0 / (1.0 + math.sqrt(decrement))
    for _ in range(30):
        shrunk = step / (1.0 - length * step)
        gradient = quadratic * length - linear + float(shrunk.sum())
        if abs(gradient) <= 1e-2 * decrement:
            break
        if gradient > 0.0:
            high = length
        else:
            low = length
        length -= gradient / (quadratic + float(shrunk @ shrunk))
        if not low < length < high:
            length = 0.5 * (low + high) if high < np.inf else 2.0 * low
    return length
