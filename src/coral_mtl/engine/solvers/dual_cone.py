"""Projections on the dual cone of the gradients, {x: <g_i, x> >= 0 for all i}, behind UPGrad and DualProj.

The projection of G'u is G'v with v = argmin v'Mv over v >= u (Quinton and Rey 2024, proposition 1). With C the cosine
matrix, n_i = |g_i| and v_i = u_i + y_i / n_i that is a nonnegative program free of scales,

    y = argmin over y >= 0 of  1/2 y'Cy + q'y,     q = C (n * u).
"""

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE, cosine_matrix
from coral_mtl.engine.solvers.nonnegative_qp import nonnegative_qp
from coral_mtl.engine.solvers.solution import Solution, Status

_SOLVED = 1e-9
"""Residual up to which a solution counts as solved."""

_ONE_BY_ONE = 1e-12
"""Residual from which a program that was solved together with the others is solved again by itself."""

_TRIALS = 2
"""Exchanges of the programs solved together that may pass without fewer infeasibilities."""


def dual_cone(gram: np.ndarray, combinations: np.ndarray, precision: float = DOUBLE) -> Solution:
    """Return the weights of d = sum_k P(G'u_k), with P the projection on the dual cone of the gradients.

    Never fails. The residual is the largest of those of the nonnegative programs, see `nonnegative_qp`; above 1e-9 the
    status is INACCURATE. It is STATIONARY where d vanishes to within the rounding of the Gram matrix,
    |d|^2 <= T * precision * (sum_i |v_i| n_i)^2. With dependent gradients d is unique and the weights need not be. A
    gradient that is exactly zero keeps its sum_k u_ki.

    Args:
        gram: (T, T) inner products of the gradients.
        combinations: (K, T) the vectors u_k.
        precision: relative rounding error of the entries of `gram`.
    """
    cosines, norms = cosine_matrix(gram)
    scaled = combinations * norms
    sizes = np.abs(scaled).max(axis=1, initial=0.0)
    linear = (scaled / np.where(sizes > 0.0, sizes, 1.0)[:, None]) @ cosines
    shares, residual, iterations = _solve(cosines, linear)
    weights = combinations.sum(axis=0) + sizes @ shares / np.where(norms > 0.0, norms, np.inf)
    squared, reach = float(weights @ (gram @ weights)), float(np.abs(weights) @ norms)
    if squared <= len(gram) * precision * reach**2:
        return Solution(weights, Status.STATIONARY, residual, iterations)
    return Solution(weights, Status.SOLVED if residual <= _SOLVED else Status.INACCURATE, residual, iterations)


def _solve(matrix: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Solve the nonnegative program of every row of `linear`: all together, then one by one those that are left."""
    if len(linear) == 1:
        solution = nonnegative_qp(matrix, linear[0])
        return solution.weights[None], solution.residual, solution.iterations
    shares, iterations = _together(matrix, linear)
    residuals = _violations(matrix, linear, shares)
    for row in np.flatnonzero(residuals > _ONE_BY_ONE):
        solution = nonnegative_qp(matrix, linear[row], shares[row] > 0.0)
        shares[row], residuals[row] = solution.weights, solution.residual
        iterations += solution.iterations
    return shares, float(residuals.max(initial=0.0)), iterations


def _together(matrix: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, int]:
    """Block principal pivoting, as in `nonnegative_qp`, on all rows at once; rows that stall are left as they are.

    A task whose gradient points where an earlier one does is the same constraint once more and stays out.
    """
    rows, size = linear.shape
    shares = np.zeros(linear.shape)
    distinct = ~np.triu(matrix >= 1.0 - 4.0 * DOUBLE, 1).any(axis=0)
    passive = (linear < 0.0) & distinct
    fewest, trials = np.full(rows, size + 1), np.full(rows, _TRIALS)
    active, diagonal = np.arange(rows), np.arange(size)
    exchanges = 0
    while active.size:
        exchanges += 1
        chosen, right = passive[active], linear[active]
        blocks = np.where(chosen[:, :, None] & chosen[:, None, :], matrix, 0.0)
        blocks[:, diagonal, diagonal] = 1.0  # as the cosine matrix has it, and the identity for the others
        try:
            z = np.linalg.solve(blocks, np.where(chosen, -right, 0.0)[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            break
        shares[active] = z
        infeasible = np.where(chosen, z < 0.0, _wanting(matrix, right, z) & distinct)
        count = np.count_nonzero(infeasible, axis=1)
        trials[active] = np.where(count < fewest[active], _TRIALS, trials[active] - 1)
        fewest[active] = np.minimum(count, fewest[active])
        passive[active] = chosen ^ infeasible
        active = active[(count > 0) & (trials[active] >= 0)]
    return np.maximum(shares, 0.0), exchanges


def _scale(matrix: np.ndarray, linear: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """|A| |z| + |q| of every row: the size of what cancels in the gradient."""
    return np.abs(shares) @ np.abs(matrix) + np.abs(linear)


def _wanting(matrix: np.ndarray, linear: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Variables that would lower the objective by more than rounding explains if they rose."""
    return shares @ matrix + linear < -4.0 * len(matrix) * DOUBLE * _scale(matrix, linear, shares)


def _violations(matrix: np.ndarray, linear: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The residual of every row, as `nonnegative_qp` defines it."""
    gradient, scale = shares @ matrix + linear, _scale(matrix, linear, shares)
    excess = np.where(shares > 0.0, np.abs(gradient), -gradient)
    return np.max(excess / np.where(scale > 0.0, scale, 1.0), axis=1, initial=0.0)
