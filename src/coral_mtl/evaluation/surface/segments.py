"""Segments: the connected parts of each class, what they overlap with, and the partition that they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Segments:
    """numbers: (H, W) segment of each pixel from 0, -1 where there is none; classes: (S,) class of each segment."""

    numbers: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, classes: np.ndarray) -> "Segments":
        """Return the segments of an image's classes (H, W): parts of one class that touch, corners included."""
        from scipy.ndimage import label  # noqa: PLC0415 (an optional extra)

        numbers = np.full(classes.shape, -1)
        owners: list[int] = []
        for own in np.unique(classes[classes >= 0]).tolist():
            parts, count = label(classes == own, structure=np.ones((3, 3)))
            numbers[parts > 0] = parts[parts > 0] - 1 + len(owners)
            owners += [own] * count
        return cls(numbers, np.array(owners, dtype=int))


def panoptic_qualities(true: Segments, predicted: Segments, size: int) -> np.ndarray:
    """Return (C,) the panoptic quality of each class, NaN where it has no segment (Kirillov et al. 2019).

    Two segments of one class match where they overlap by more than half: IoU > 1/2. PQ is sum_match IoU / (TP + FP / 2
    + FN / 2), with TP the matches, and FP and FN the predicted and true segments without one.
    """
    table = overlaps(true, predicted)
    areas, predicted_areas = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    pairs = table.tocoo()
    ious = pairs.data / (areas[pairs.row] + predicted_areas[pairs.col] - pairs.data)
    match = (ious > 0.5) & (true.classes[pairs.row] == predicted.classes[pairs.col])
    quality = np.bincount(true.classes[pairs.row[match]], weights=ious[match], minlength=size)
    segments = sum(np.bincount(each.classes, minlength=size) for each in (true, predicted))
    return np.divide(2.0 * quality, segments, out=np.full(size, np.nan), where=segments > 0)


def partition_figures(true: Segments, predicted: Segments) -> dict[str, float]:
    """Return `ARI` and `VI` of the two partitions of the pixels that have a true segment; no class plays a part.

    ARI is the adjusted Rand index (Hubert & Arabie 1985), 1 for equal partitions and about 0 for independent ones. VI
    is the variation of information H(true | predicted) + H(predicted | true) (Meila 2007) in bits, 0 for equal ones.
    """
    from scipy.stats import entropy  # noqa: PLC0415 (an optional extra)
    from sklearn.metrics import adjusted_rand_score, mutual_info_score  # noqa: PLC0415 (an optional extra)

    inside = true.numbers >= 0
    table = overlaps(true, predicted)
    entropies = sum(float(entropy(np.asarray(table.sum(axis=axis)).ravel())) for axis in (0, 1))
    shared = float(mutual_info_score(None, None, contingency=table))
    return {
        "ARI": float(adjusted_rand_score(true.numbers[inside], predicted.numbers[inside])),
        "VI": max(0.0, entropies - 2.0 * shared) / float(np.log(2.0)),
    }


def overlaps(true: Segments, predicted: Segments) -> "csr_matrix":
    """Return (S, S') how many pixels a true and a predicted segment have in common."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415 (an optional extra)

    inside = (true.numbers >= 0) & (predicted.numbers >= 0)
    rows, columns = true.numbers[inside], predicted.numbers[inside]
    shape = (len(true.classes), len(predicted.classes))
    return coo_matrix((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape).tocsr()
