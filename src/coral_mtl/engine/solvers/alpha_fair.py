"""The alpha-fair weights: w > 0 with (M w)_i = w_i^(-1/alpha) (Ban and Ji 2024, equation 4).

They minimise the strictly convex f(w) = 1/2 w'Mw - sum_i w_i^(1 - 1/alpha) / (1 - 1/alpha), so they are unique, and
they exist unless the gradients are Pareto stationary. alpha = 1 is the bargaining solution of `nash.py` (the power
becomes a logarithm); as alpha falls to 0 the direction tends to the projection of the summed gradients on the cone of
directions that hurt no task, and as it grows to that of the min-norm point.

With C the cosine matrix and y_i = n_i w_i, the coefficients on unit gradients, the problem reads

    C y = h,     h_i = w_i^(-1/alpha) / n_i.

A large alpha makes w_i span hundreds of decades, so the unknowns are log w_i: weights too small for a float are zero in
y, where they do not matter, and right in h. Newton's method takes tasks with h_i > alpha y_i, whose own equation is
dominated by h, in the form log h_i = log (C y)_i, which one step solves from however far away.

Towards Pareto stationarity a ridge is added to C and taken away again as `nash.py` describes, with the slack
ridge |y|^2 / y'(C + ridge I)y, so that d falls to zero there.
"""

import math
from dataclasses import dataclass

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-9
"""Residual up to which a solution counts as solved."""

_ROUGH, _FAIR, _FINE = 1e-2, 1e-4, 1e-15
"""Residuals: good enough to see that the slack is small; to measure it, and next to a stationary point; the end."""

_PATIENCE = 4
"""Steps without a gain after which rounding is taken to have stopped the method; one is enough below `_SOLVED`."""

_LARGEST_RIDGE = 1e-2
_LARGEST_LOGARITHM = 700.0
_TRIALS = 30

_FARTHEST = 60.0
"""By how much the logarithm of a light task's gain may change in one step."""


def alpha_fair(gram: np.ndarray, alpha: float, precision: float = DOUBLE, max_iterations: int = 100) -> Solution:
    """Return the weights w with (M w)_i = w_i^(-1/alpha) by a damped Newton method in log w.

    The residual is the length of the next Newton step in d, relative to |d|, which estimates the relative error of d,
    or the largest |<g_i, d> - w_i^(-1/alpha)| / (|g_i| |d|) if that is more. INACCURATE: rounding or `max_iterations`
    stopped the method above 1e-9. STATIONARY: the gradients are Pareto stationary to within rounding, see the module's
    text. Where the method breaks down, which takes a matrix that is not positive semidefinite to within `precision`,
    the ridge is raised a hundredfold until it holds, and beyond 0.01 the weights are those of MGDA on unit gradients at
    the length that minimises f (FALLBACK). A gradient that is exactly zero gets the weight 0 and does not take part.

    Args:
        gram: (T, T) inner products of the gradients.
        alpha: kind of fairness, positive.
        precision: relative rounding error of the entries of `gram`.
        max_iterations: Newton steps to take at most for one ridge.
    """
    cosines, norms = cosine_matrix(gram)
    present = norms > 0.0
    weights = np.zeros(len(gram))
    if not present.any():
        return Solution(weights, Status.STATIONARY, 0.0, 0)
    cosines, norms = cosines[np.ix_(present, present)], norms[present]
    with np.errstate(all="ignore"):  # overflow and log 0 of a trial step are what tells that it was too long
        logarithms, status, residual, iterations = _solve(
            cosines, np.log(norms / norms.max()), alpha, precision, max_iterations
        )
        logarithms = logarithms - 2.0 * alpha / (1.0 + alpha) * math.log(norms.max())
        weights[present] = np.exp(logarithms - max(float(logarithms.max()) - _LARGEST_LOGARITHM, 0.0))
    return Solution(weights, status, residual, iterations)


def _solve(
    cosines: np.ndarray, sizes: np.ndarray, alpha: float, precision: float, max_iterations: int
) -> tuple[np.ndarray, Status, float, int]:
    """Solve with a ridge, then with what is to be kept of it; return log w, status, residual, and Newton steps."""
    ridge = len(cosines) * max(1e3 * DOUBLE, 4.0 * precision)
    iterations = 0
    while ridge <= _LARGEST_RIDGE:
        ridged = _Newton(cosines, ridge, sizes, alpha, max_iterations)
        found = ridged.solve(ridged.ray(-2.0 * alpha / (1.0 + alpha) * sizes), _ROUGH)
        if found is not None and found.slack(ridge) > 0.25:
            found = ridged.solve(found, _FAIR)
        iterations += ridged.steps
        if found is not None:
            kept = ridge * max(2.0 * found.slack(ridge) - 1.0, 0.0)
            final = _Newton(cosines, kept, sizes, alpha, max_iterations)
            found = final.solve(final.at(found.logarithms), _FAIR if kept else _FINE)
            iterations += final.steps
        if found is not None:
            status = Status.SOLVED if final.residual <= _SOLVED else Status.INACCURATE
            status = Status.STATIONARY if kept else status
            return found.logarithms, status, final.residual, iterations
        ridge *= 100.0
    unit = np.maximum(min_norm(cosines, precision).weights, DOUBLE)
    fallback = _Newton(cosines, _LARGEST_RIDGE, sizes, alpha, max_iterations)
    return fallback.ray(np.log(unit) - sizes).logarithms, Status.FALLBACK, 1.0, iterations


@dataclass(frozen=True, slots=True)
class _Point:
    """Log w, with y, the gains C y that it brings, and the gains h that it should bring."""

    logarithms: np.ndarray
    y: np.ndarray
    gains: np.ndarray
    h: np.ndarray

    def slack(self, ridge: float) -> float:
        return ridge * float(self.y @ self.y) / float(self.y @ self.gains)


@dataclass(frozen=True, slots=True)
class _Step:
    """Relative step p in y, towards y (1 - t p), and the square of its length in d, which is the slope of f.

    light: tasks that are stepped in log y instead, y exp(-t p).
    """

    p: np.ndarray
    light: np.ndarray
    squared: float


class _Newton:
    def __init__(self, cosines: np.ndarray, ridge: float, sizes: np.ndarray, alpha: float, max_iterations: int) -> None:
        self.matrix = cosines.copy()
        self.matrix.flat[:: len(cosines) + 1] += ridge
        self.sizes = sizes
        self.alpha = alpha
        self.max_iterations = max_iterations
        self.steps = 0
        self.residual = math.inf

    def at(self, logarithms: np.ndarray) -> _Point:
        y = np.exp(logarithms + self.sizes)
        return _Point(logarithms, y, self.matrix @ y, np.exp(-logarithms / self.alpha - self.sizes))

    def ray(self, logarithms: np.ndarray) -> _Point:
        """The multiple of w that minimises f; w itself where f has no minimum along it."""
        point = self.at(logarithms)
        squared = float(point.y @ point.gains)
        exponents = logarithms * (1.0 - 1.0 / self.alpha)  # log(y h), which may leave the range of float64
        largest = float(exponents.max())
        total = largest + math.log(float(np.exp(exponents - largest).sum()))
        factor = total - math.log(squared) if squared > 0.0 else 0.0
        return self.at(logarithms + self.alpha / (1.0 + self.alpha) * factor)

    def solve(self, point: _Point, accuracy: float) -> _Point | None:
        """Minimise f to where `residual` is below `accuracy` or rounding; None where the method breaks down."""
        best, self.residual, stalls = point, math.inf, 0
        for _ in range(self.max_iterations):
            point = self._lifted(point)
            step = self._step(point)
            length = _relative(step, point)
            if not length < math.inf:
                return None
            stalls = stalls + 1 if 0.8 * self.residual < length < _FAIR else 0
            if length < self.residual:
                best, self.residual = point, length
            if length <= accuracy or stalls > (0 if self.residual <= _SOLVED else _PATIENCE):
                break
            point = self._search(point, step)
            self.steps += 1
        return best

    def _lifted(self, point: _Point) -> _Point:
        """Give tasks that lose by the direction, and have no weight to speak of, a weight that matters."""
        least = np.maximum(-point.gains, 0.0) / len(point.y)
        if not (point.y < least).any():
            return point
        return self.at(np.where(point.y < least, np.log(least) - self.sizes, point.logarithms))

    def _step(self, point: _Point) -> _Step:
        """Solve (C + D) m = C y - h for m = y p, where D_i = h_i / (alpha y_i), scaled to a unit diagonal.

        For light tasks the logarithmic mean of h and C y takes the place of h, which is Newton's method in logarithms.
        """
        excess, ratio = point.gains - point.h, point.gains / point.h
        mean = np.where(np.abs(ratio - 1.0) > 1e-6, excess / np.log(ratio), point.h)
        light = (ratio > 0.0) & (mean > self.alpha * point.y)
        barrier = np.where(light, mean, point.h) / self.alpha
        own = barrier / point.y
        scale = 1.0 / np.sqrt(1.0 + own)
        hessian = self.matrix * scale[:, None] * scale
        hessian.flat[:: len(scale) + 1] += np.where(own < 1.0, own * scale**2, 1.0 - scale**2)
        try:
            move = scale * np.linalg.solve(hessian, scale * excess)
        except np.linalg.LinAlgError:
            return _Step(excess, light, math.nan)
        p = np.where(own < 1.0, move / point.y, (excess - self.matrix @ move) / barrier)
        return _Step(p, light, float(move @ excess))

    def _search(self, point: _Point, step: _Step) -> _Point:
        """Go along the curved path, and where half a step is too long for it, along the straight one if that is better.

        The curved path, y / (1 + t p), may take many tasks far down at once; the straight one stays where C is flat.
        """
        length, curved = self._along(point, step, True, 1.0)
        if length >= 0.5:
            return curved
        steepest = float(np.max(np.where(step.light, 0.0, step.p)))
        _, straight = self._along(point, step, False, min(1.0, (1.0 - 1e-8) / max(steepest, DOUBLE)))
        return straight if self._objective(straight) < self._objective(curved) else curved

    def _along(self, point: _Point, step: _Step, curved: bool, length: float) -> tuple[float, _Point]:
        """Halve the slope of f along the path, or take the whole `length` if f still falls there."""
        low, high, slope_low = 0.0, math.inf, -step.squared
        longest = length
        for _ in range(_TRIALS):
            factors, speeds = self._path(point, step, length, curved)
            trial = self.at(point.logarithms + factors)
            slope = -float((step.p * point.y * speeds) @ (trial.gains - trial.h))
            if abs(slope) <= 0.5 * step.squared or (slope < 0.0 and length >= longest):
                break
            if slope < 0.0:
                low, slope_low = length, slope
                length = 0.5 * (low + high)
            else:
                high = length
                share = -slope_low / (slope - slope_low) if slope < math.inf else 0.25
                length = low + (high - low) * min(max(share, 0.1), 0.9)
        return length, trial

    def _path(self, point: _Point, step: _Step, length: float, curved: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the logarithm of what y is multiplied by at t = `length`, and the speed -dy/dt in units of p y.

        The curved path goes no further down than to the weight whose gain is more than all of y together can bring.
        """
        z = length * step.p
        reach = 1.0 + _FARTHEST * self.alpha
        falling = -np.log1p(np.maximum(z, 0.0)) if curved else np.log1p(-np.maximum(z, 0.0))
        factors = np.where(step.light, -np.clip(z, -reach, reach), falling + np.log1p(np.maximum(-z, 0.0)))
        if not curved:
            return factors, np.exp(np.where(step.light, factors, 0.0))
        speeds = np.exp(np.where(step.light, 1.0, np.where(z > 0.0, 2.0, 0.0)) * factors)
        least = -self.alpha * (math.log(2.0 * float(point.y.sum())) + self.sizes)
        lowest = np.minimum(least - point.logarithms, 0.0)
        return np.maximum(factors, lowest), np.where(factors < lowest, 0.0, speeds)

    def _objective(self, point: _Point) -> float:
        quadratic = 0.5 * float(point.y @ point.gains)
        if self.alpha == 1.0:
            return quadratic - float(point.logarithms.sum())
        return quadratic - float(point.y @ point.h) * self.alpha / (self.alpha - 1.0)


def _relative(step: _Step, point: _Point) -> float:
    """The residual at a point, infinite where the matrix is not positive semidefinite or the step is not finite."""
    squared = float(point.y @ point.gains)
    if not (step.squared >= 0.0 and squared > 0.0):
        return math.inf
    return max(math.sqrt(step.squared), float(np.abs(point.gains - point.h).max())) / math.sqrt(squared)
