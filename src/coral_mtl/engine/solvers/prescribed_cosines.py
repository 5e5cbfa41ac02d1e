"""The direction with prescribed cosines to the tasks' gradients, behind IMTL-G and ConFIG."""

import math

import numpy as np

from coral_mtl.engine.solvers.cosine import DOUBLE
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Solution, Status

_CONSISTENT = 1e-6
"""Residual up to which the cosines count as reached."""


def prescribed_cosines(cosines: np.ndarray, wanted: np.ndarray, precision: float = DOUBLE) -> Solution:
    """Return y with C y = t: the combination d = sum_i y_i u_i of unit gradients has <u_i, d> = t_i > 0.

    Eigenvalues of C up to 8 T * precision times the largest are rounding and left out, and y is the solution of least
    norm. Where the gradients are so dependent that no direction has these cosines (more tasks than parameters), the
    ratios <u_i, d> / t_i cannot be equal; then the least of them is made as large as possible, which is the min-norm
    point of the u_i / t_i (FALLBACK), and y = 0 where even that vanishes (STATIONARY). So <u_i, d> >= 0 in any case.

    The residual is max_i |C y - t|_i / max_i t_i where that is solved, and else that of `min_norm`.

    Args:
        cosines: (T, T) cosine matrix C.
        wanted: (T,) positive t.
        precision: relative rounding error of the entries of C.
    """
    values, vectors = np.linalg.eigh(cosines)
    rounding = 8.0 * len(wanted) * max(precision, DOUBLE)
    kept = values > rounding * values[-1]
    y = vectors[:, kept] @ ((wanted @ vectors[:, kept]) / values[kept])
    residual = float(np.max(np.abs(cosines @ y - wanted)) / wanted.max())
    if residual <= max(_CONSISTENT, math.sqrt(rounding)):
        return Solution(y, Status.SOLVED, residual, 1)
    fairest = min_norm(cosines / wanted / wanted[:, None], precision)
    if fairest.status is Status.STATIONARY:
        return Solution(np.zeros(len(wanted)), Status.STATIONARY, fairest.residual, fairest.iterations)
    return Solution(fairest.weights / wanted, Status.FALLBACK, fairest.residual, fairest.iterations)
