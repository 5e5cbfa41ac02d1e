"""Confusion matrices, and what follows from them."""

import numpy as np
import torch
from torch import Tensor


def confusion_matrix(true: Tensor, predicted: Tensor, size: int) -> np.ndarray:
    """Return (size, size) int64 counts of elements by true class (row) and predicted class (column).

    Elements with the true class -1 are not counted.
    """
    pairs = (true * size + predicted)[true >= 0]
    return torch.bincount(pairs, minlength=size * size).reshape(size, size).cpu().numpy()


def class_ious(matrix: np.ndarray) -> np.ndarray:
    """Return (C,) TP / (TP + FP + FN), NaN for a class that is in neither the targets nor the predictions."""
    hits = matrix.diagonal()
    return ratio(hits, matrix.sum(axis=0) + matrix.sum(axis=1) - hits)


def class_dices(matrix: np.ndarray) -> np.ndarray:
    """Return (C,) 2 TP / (2 TP + FP + FN), NaN for a class that is in neither the targets nor the predictions."""
    return ratio(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def class_accuracies(matrix: np.ndarray) -> np.ndarray:
    """Return (C,) TP / (TP + FN), the share of a class's elements that were found; NaN where it has none."""
    return ratio(matrix.diagonal(), matrix.sum(axis=1))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Return the share of elements on the diagonal, NaN where there is none."""
    return float(ratio(matrix.trace(), matrix.sum()))


def ratio(part: np.ndarray | np.integer, whole: np.ndarray | np.integer) -> np.ndarray:
    """Return part / whole in float64, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def mean_of(values: np.ndarray, counted: tuple[bool, ...]) -> float:
    """Return the mean of the values that count and are defined, NaN where there is none."""
    chosen = values[np.array(counted, dtype=bool) & ~np.isnan(values)]
    return float(chosen.mean()) if chosen.size else float("nan")
