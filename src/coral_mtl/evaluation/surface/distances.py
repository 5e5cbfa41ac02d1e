"""How far apart the surfaces of a class are, in pixels."""

import math

import numpy as np


def surface_distances(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float] | None:
    """Return the average symmetric surface distance and the Hausdorff distance at 95 per cent of two masks (H, W).

    The surface S of a mask are its pixels with one of the four neighbours outside, the outside of the image included.
    With d(a, B) the Euclidean distance of a pixel to the nearest of B, the first is (sum_{a in S} d(a, S') +
    sum_{b in S'} d(b, S)) / (|S| + |S'|) (Heimann et al. 2009), and the second the larger of the 95th percentiles of
    d(a, S') and of d(b, S) (Maier-Hein et al. 2024). None where one of the masks is empty.
    """
    if not (true.any() and predicted.any()):
        return None
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 (an optional extra)

    window = _bounds(true | predicted)
    first, second = (_surface(mask)[window] for mask in (true, predicted))
    there: np.ndarray = distance_transform_edt(~second)[first]
    back: np.ndarray = distance_transform_edt(~first)[second]
    average = math.fsum([there.sum(), back.sum()]) / (len(there) + len(back))
    return average, float(max(np.percentile(there, 95), np.percentile(back, 95)))


def _surface(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion  # noqa: PLC0415 (an optional extra)

    return mask & ~binary_erosion(mask)


def _bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest window that holds a mask: distances between pixels in it do not depend on what is around."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
