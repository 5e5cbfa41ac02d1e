"""The cosine matrix, which every solver works on, so that no answer depends on the scale of a gradient."""

import numpy as np

DOUBLE = float(np.finfo(np.float64).eps)
"""Relative rounding error of float64 arithmetic, and of a Gram matrix of float64 gradients."""


def cosine_matrix(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return C with C_ij = M_ij / (n_i n_j), and the norms n_i = sqrt(M_ii), of a Gram matrix M.

    C is symmetric, clipped to [-1, 1], with an exact unit diagonal; a row of norm 0 is the unit row.

    Args:
        gram: (T, T) inner products of the gradients, positive semidefinite up to rounding.
    """
    norms = np.sqrt(np.maximum(gram.diagonal(), 0.0))
    divisors = np.where(norms > 0.0, norms, np.inf)
    cosines = gram / divisors / divisors[:, None]
    cosines = 0.5 * (cosines + cosines.T)
    np.maximum(np.minimum(cosines, 1.0, out=cosines), -1.0, out=cosines)
    cosines.flat[:: len(cosines) + 1] = 1.0
    return cosines, norms
