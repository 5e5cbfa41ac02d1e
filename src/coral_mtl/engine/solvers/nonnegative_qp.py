"""The nonnegative quadratic program behind MGDA, CAGrad, UPGrad, DualProj and their kin."""

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-10
"""Residual up to which a solution counts as solved."""

_FAR = 1e13
"""Size of z, in units of q, from which a block counts as singular."""

_TRIALS = 3
"""Full exchanges that block pivoting may make without reducing the infeasibilities before it goes one by one."""


def nonnegative_qp(matrix: np.ndarray, linear: np.ndarray, passive: np.ndarray | None = None) -> Solution:
    """Solve min over z >= 0 of 1/2 z'Az + q'z exactly.

    Block principal pivoting (Judice and Pires 1994), which exchanges all infeasible variables at once, finds the set of
    positive variables in a few linear solves. Where it cycles, the active-set method of Lawson and Hanson (1974) takes
    over; ties go to the lowest index. With a singular A the product Az is unique and z need not be; where there is no
    minimum z lies far down the slope. The status is INACCURATE where the residual is above 1e-10, which takes an A that
    is not semidefinite.

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
        z, more = _active_set(problem, guess)
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
            z[index] = _minimise(self.matrix[index][:, index], -self.linear[index])
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

    def violation(self, z: np.ndarray) -> float:
        """The residual that `nonnegative_qp` documents."""
        gradient, scale = self.gradient(z), self.scale(z)
        excess = np.where(z > 0.0, np.abs(gradient), -gradient)
        return float(np.max(excess / np.where(scale > 0.0, scale, 1.0), initial=0.0))


def _minimise(block: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Minimise 1/2 z'Bz - r'z; of many minima the shortest, and a point far down the slope where there is none."""
    try:
        z = np.linalg.solve(block, right)
    except np.linalg.LinAlgError:
        z = np.full(len(right), np.inf)
    if np.abs(z).max() <= _FAR * np.abs(right).max():
        return z
    z = np.linalg.lstsq(block, right, rcond=None)[0]
    downhill = right - block @ z  # in the null space of B
    steepness = np.abs(downhill).max()
    if steepness <= 1e-10 * np.abs(right).max():
        return z
    return z + _FAR * downhill * (np.abs(right).max() / steepness)


def _block_pivoting(problem: _Problem, passive: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Exchange all infeasible variables at once, or the last one alone while that does not help."""
    fewest, trials = problem.size + 1, _TRIALS
    z = np.zeros(problem.size)
    for iteration in range(1, problem.size + 20):
        z = problem.on(passive)
        infeasible = np.where(passive, z < 0.0, problem.wanting(z, passive))
        count = int(np.count_nonzero(infeasible))
        if count == 0:
            return z, iteration, True
        if count < fewest:
            fewest, trials = count, _TRIALS
        elif trials > 0:
            trials -= 1
        else:
            infeasible[: infeasible.nonzero()[0][-1]] = False
        passive = passive ^ infeasible
    return z, iteration, False


def _active_set(problem: _Problem, guess: np.ndarray) -> tuple[np.ndarray, int]:
    """Let one variable in at a time, and out those that block the way to the minimum over the passive ones."""
    z = problem.on(guess)
    passive = guess & (z > 0.0).all(where=guess)
    z = np.where(passive, z, 0.0)
    barred = np.zeros(problem.size, dtype=bool)
    limit, iterations = 30 * problem.size, 0
    while iterations < limit:
        gradient = np.where(problem.wanting(z, passive) & ~barred, problem.gradient(z), 0.0)
        entering = int(np.argmin(gradient))
        if gradient[entering] >= 0.0:
            return z, iterations
        passive[entering] = True
        target = problem.on(passive)
        iterations += 1
        if target[entering] <= 0.0:  # rounding alone made it look promising
            passive[entering], barred[entering] = False, True
            continue
        barred[:] = False
        while (target[passive] <= 0.0).any() and iterations < limit:
            z, passive = _towards(z, target, passive)
            target = problem.on(passive)
            iterations += 1
        z = np.maximum(target, 0.0)
    return z, iterations


def _towards(z: np.ndarray, target: np.ndarray, passive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go from z to the target until the first passive variable reaches zero, and drop it."""
    blocking = passive & (target <= 0.0)
    fractions = np.full(len(z), np.inf)
    fractions[blocking] = z[blocking] / np.maximum(z[blocking] - target[blocking], np.finfo(float).tiny)
    first = int(np.argmin(fractions))
    z = np.maximum(z + fractions[first] * (target - z), 0.0)
    z[first] = 0.0
    return np.where(passive, z, 0.0), passive & (z > 0.0)
