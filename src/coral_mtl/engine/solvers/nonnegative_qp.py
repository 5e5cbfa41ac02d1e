"""The nonnegative quadratic program behind MGDA, CAGrad, UPGrad, DualProj and their kin."""

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-10
"""Residual up to which a solution counts as solved."""

_FAR = 1e11
"""Size of z, in units of q, from which a block counts as singular."""

_TINY = float(np.finfo(np.float64).tiny)

_TRIALS = 3
"""Full exchanges that block pivoting may make without reducing the infeasibilities before it goes one by one."""


def nonnegative_qp(matrix: np.ndarray, linear: np.ndarray, passive: np.ndarray | None = None) -> Solution:
    """Solve min over z >= 0 of 1/2 z'Az + q'z exactly.

    Block principal pivoting (Judice and Pires 1994), which exchanges all infeasible variables at once, finds the set of
    positive variables in a few linear solves. Where it stalls, an active-set method in the manner of Lawson and Hanson
    (1974) goes on from there, downhill all the way. With a singular A the product Az is unique and z need not be; where
    there is no minimum z lies far down the slope. The status is INACCURATE where the residual is above 1e-10, which
    takes an A that is not semidefinite.

    The residual is the largest violation of z >= 0, Az + q >= 0, z'(Az + q) = 0, row by row relative to
    |A| z + |q|, the size of the terms that cancel in that row.

    Args:
        matrix: (T, T) symmetric positive semidefinite A, best with a diagonal near 1.
        linear: (T,) q.
        passive: (T,) bool, a guess of which variables are positive, such as `solution.weights > 0` of a problem nearby.
    """
    problem = _Problem(matrix, linear)
    guess = linear < 0.0 if passive is None else passive
    z, iterations, settled = _block_pivoting(problem, guess)
    if not settled:
        z, more = _active_set(problem, np.maximum(z, 0.0))
        iterations += more
    residual = problem.violation(z)
    return Solution(z, Status.SOLVED if residual <= _SOLVED else Status.INACCURATE, residual, iterations)


class _Problem:
    """A and q, with what every iteration asks of them."""

    def __init__(self, matrix: np.ndarray, linear: np.ndarray) -> None:
        self.matrix = matrix
        self.linear = linear
        self.size = len(linear)
        self._absolute = np.abs(matrix)
        self._offset = np.abs(linear)

    def on(self, passive: np.ndarray) -> np.ndarray:
        """Minimise over the passive variables, the others being zero, signs ignored."""
        index = passive.nonzero()[0]
        z = np.zeros(self.size)
        if index.size:
            z[index] = _minimise(self.matrix[index[:, None], index], -self.linear[index])
        return z

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """Az + q."""
        return self.matrix @ z + self.linear

    def scale(self, z: np.ndarray) -> np.ndarray:
        """|A| |z| + |q|: the size of what cancels in each row of the gradient."""
        return self._absolute @ np.abs(z) + self._offset

    def wanting(self, z: np.ndarray, passive: np.ndarray) -> np.ndarray:
        """Zero variables that would lower the objective by more than rounding explains."""
        return ~passive & (self.gradient(z) < -4.0 * self.size * DOUBLE * self.scale(z))

    def infeasible(self, z: np.ndarray, passive: np.ndarray) -> np.ndarray:
        """Passive variables below zero, and the others that are wanting."""
        low = np.where(passive, z, self.gradient(z)) < 0.0
        return low & (passive | self.wanting(z, passive)) if low.any() else low

    def violation(self, z: np.ndarray) -> float:
        """The residual that `nonnegative_qp` documents."""
        gradient = self.gradient(z)
        excess = np.where(z > 0.0, np.abs(gradient), -gradient)
        return max(0.0, float((excess / np.maximum(self.scale(z), _TINY)).max(initial=0.0)))


def _minimise(block: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Minimise 1/2 z'Bz - r'z; of many minima the shortest, and a point far down the slope where there is none."""
    try:
        z = np.linalg.solve(block, right)
    except np.linalg.LinAlgError:
        z = np.full(len(right), np.inf)
    if z @ z <= _FAR**2 * (right @ right):
        return z
    z = np.linalg.lstsq(block, right, rcond=None)[0]
    downhill = right - block @ z  # in the null space of B
    steepness = np.abs(downhill).max()
    if steepness <= 1e-10 * np.abs(right).max():
        return z
    return z + _FAR * downhill * (np.abs(right).max() / steepness)


def _block_pivoting(problem: _Problem, passive: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Exchange all infeasible variables at once, for as long as that reduces their number now and then."""
    fewest, trials = problem.size + 1, _TRIALS
    iterations = 0
    while True:
        z = problem.on(passive)
        iterations += 1
        infeasible = problem.infeasible(z, passive)
        count = int(np.count_nonzero(infeasible))
        if count == 0:
            return z, iterations, True
        fewest, trials = (count, _TRIALS) if count < fewest else (fewest, trials - 1)
        if trials < 0:
            return z, iterations, False
        passive = passive ^ infeasible


def _active_set(problem: _Problem, start: np.ndarray) -> tuple[np.ndarray, int]:
    """Let in what is wanting and out what is in the way, downhill from `start` >= 0, until nothing is wanting."""
    z, passive, iterations = _downhill(problem, start, start > 0.0)
    while iterations < 30 * problem.size:
        wanting, before = problem.wanting(z, passive), z
        if not wanting.any():
            break
        z, passive, more = _downhill(problem, z, passive | wanting)
        iterations += more
        if (z == before).all():  # let in, and at once out again: rounding alone made them look promising
            break
    return z, iterations


def _downhill(problem: _Problem, z: np.ndarray, passive: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Go from z >= 0 towards the minimum over the passive variables, dropping those that reach zero on the way."""
    target, iterations = problem.on(passive), 1
    while (target[passive] <= 0.0).any():
        z, passive = _towards(z, target, passive)
        target, iterations = problem.on(passive), iterations + 1
    return target, passive, iterations


def _towards(z: np.ndarray, target: np.ndarray, passive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go from z to the target until the first passive variables reach zero, and drop these."""
    blocking = passive & (target <= 0.0)
    fractions = np.full(len(z), np.inf)
    fractions[blocking] = z[blocking] / np.maximum(z[blocking] - target[blocking], _TINY)
    first = fractions.min()
    z = np.maximum(z + first * (target - z), 0.0)
    passive = passive & (fractions > first)
    return np.where(passive, z, 0.0), passive
