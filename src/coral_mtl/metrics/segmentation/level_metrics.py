"""All figures of one task at one level of its classes."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from coral_mtl.metrics.segmentation.boundaries import BoundaryCounts
from coral_mtl.metrics.segmentation.calibration import Calibration
from coral_mtl.metrics.segmentation.confusion import (
    class_accuracies,
    class_dices,
    class_ious,
    confusion_matrix,
    mean_of,
    pixel_accuracy,
)
from coral_mtl.metrics.segmentation.levels import Level, most_probable


class LevelMetrics:
    """Accumulates a confusion matrix, boundary counts and calibration sums over all images.

    `mIoU`, `mDice`, `boundary_IoU` and `boundary_F1` are means over the classes that count (see Level) and are in the
    targets or in the predictions. All figures are NaN where the logits of a labelled element are: it has no most
    probable class, whatever the confusion matrix counts it as.
    """

    names: ClassVar[tuple[str, ...]] = (
        "mIoU", "mDice", "pixel_accuracy", "boundary_IoU", "boundary_F1", "NLL", "Brier", "ECE",
    )  # fmt: skip

    def __init__(self, level: Level, *, boundary_thickness: float, calibration_bins: int) -> None:
        self.level = level
        self.confusion = np.zeros((level.size, level.size), dtype=np.int64)
        self.boundaries = BoundaryCounts(level.size)
        self.calibration = Calibration(calibration_bins)
        self._boundary_thickness = boundary_thickness

    def update(self, logits: Tensor, log_p: Tensor, target: Tensor) -> None:
        """Add logits and log-probabilities (N, C, H, W) of the task's classes, and its targets (N, H, W)."""
        log_p = self.level.log_probabilities(log_p)
        true = self.level.true_classes(target)
        predicted = most_probable(log_p if self.level.groups else logits)
        self.confusion += confusion_matrix(true, predicted, self.level.size)
        self.boundaries.update(true, predicted, self._boundary_thickness)
        self.calibration.update(log_p, true, predicted)

    def by_class(self) -> dict[str, np.ndarray]:
        """Return figures of each class (C,), NaN where a class has none, and all where a prediction diverged."""
        figures = {
            "IoU": class_ious(self.confusion),
            "Dice": class_dices(self.confusion),
            "accuracy": class_accuracies(self.confusion),
            "boundary_IoU": self.boundaries.ious(),
            "boundary_F1": self.boundaries.f1s(),
        }
        if self.calibration.diverged:
            return {name: np.full(self.level.size, np.nan) for name in figures}
        return figures

    def compute(self) -> dict[str, float]:
        """Return every figure of `names` over everything added so far."""
        classes = self.by_class()
        return {
            "mIoU": mean_of(classes["IoU"], self.level.counted),
            "mDice": mean_of(classes["Dice"], self.level.counted),
            "pixel_accuracy": float("nan") if self.calibration.diverged else pixel_accuracy(self.confusion),
            "boundary_IoU": mean_of(classes["boundary_IoU"], self.level.counted),
            "boundary_F1": mean_of(classes["boundary_F1"], self.level.counted),
            **self.calibration.compute(),
        }
