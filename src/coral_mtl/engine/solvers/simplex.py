"""Exact Euclidean projections on the simplex and on the capped simplex."""

import numpy as np


def project_simplex(point: np.ndarray, prices: np.ndarray | None = None) -> np.ndarray:
    """Return the nearest point of {w >= 0, p'w = 1}.

    The projection is (v - tau p)_+ with tau the root of p'(v - tau p)_+ = 1, found exactly by sorting v_i / p_i
    (Held, Wolfe and Crowder 1974).

    Args:
        point: (T,) the point v.
        prices: (T,) positive p; all 1 by default, which is the simplex.
    """
    prices = np.ones(len(point)) if prices is None else prices
    ratios = point / prices
    order = np.argsort(-ratios, kind="stable")
    spent = np.cumsum(prices[order] * point[order])
    squares = np.cumsum(prices[order] ** 2)
    thresholds = (spent - 1.0) / squares
    support = np.flatnonzero(ratios[order] > thresholds)
    last = support[-1] if support.size else 0
    return np.maximum(point - thresholds[last] * prices, 0.0)


def project_capped_simplex(point: np.ndarray, cap: float | np.ndarray) -> np.ndarray:
    """Return the nearest point of {0 <= w <= cap, sum w = 1}.

    The projection is clip(v - tau, 0, cap); its sum falls from sum(cap) to 0 along the sorted breakpoints v_i - cap_i
    and v_i, linearly in between, so tau follows by interpolation. Where sum(cap) < 1 the set is empty and the caps
    themselves, the nearest to it, are returned.

    Args:
        point: (T,) the point v.
        cap: upper bound of every weight, or (T,) one each.
    """
    caps = np.broadcast_to(np.asarray(cap, dtype=np.float64), point.shape)
    breakpoints = np.unique(np.concatenate([point - caps, point]))
    sums = np.clip(point - breakpoints[:, None], 0.0, caps).sum(axis=1)
    tau = np.interp(-1.0, -sums, breakpoints)
    return np.clip(point - tau, 0.0, caps)
