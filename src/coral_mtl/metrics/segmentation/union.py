"""Figures of several segmentation tasks as one: over the union of their classes."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from coral_mtl.metrics.segmentation.calibration import Calibration
from coral_mtl.metrics.segmentation.confusion import mean_of
from coral_mtl.metrics.segmentation.level_metrics import LevelMetrics


class UnionMetrics:
    """The figures `mIoU` ... of all tasks together, and `H-Mean`.

    The union holds every grouped class of every task once, as that task predicts it; classes of equal name in two
    tasks stay two. Remainders are not among them, such as `unlabeled`: what a task leaves to the others. `mIoU`,
    `mDice`, `boundary_IoU` and `boundary_F1` are means over the union's classes that are in the targets or in the
    predictions.
    `pixel_accuracy`, `NLL`, `Brier` and `ECE` are over all labelled elements of all tasks, each counted once for each
    task that labels it.

    `H-Mean` is the harmonic mean n / sum_t 1 / mIoU_t of the primary tasks' grouped mIoU, 0 where one is 0.
    """

    names: ClassVar[tuple[str, ...]] = (*LevelMetrics.names, "H-Mean")

    def __init__(self, tasks: Mapping[str, LevelMetrics], primary: Sequence[str]) -> None:
        """Join the grouped figures of `tasks`, of which `primary` are those of H-Mean.

        Figures of no task are NaN, and so are all figures where a prediction of one task diverged.
        """
        self._tasks = tasks
        self._primary = primary

    def compute(self) -> dict[str, float]:
        """Return every figure of `names`."""
        if not self._tasks or any(part.calibration.diverged for part in self._tasks.values()):
            return dict.fromkeys(self.names, float("nan"))
        parts = list(self._tasks.values())
        right, all_ = (sum(int(count(part.confusion)) for part in parts) for count in (np.trace, np.sum))
        return {
            "mIoU": self._mean("IoU"),
            "mDice": self._mean("Dice"),
            "pixel_accuracy": right / all_,
            "boundary_IoU": self._mean("boundary_IoU"),
            "boundary_F1": self._mean("boundary_F1"),
            **Calibration.merged(part.calibration for part in parts).compute(),
            "H-Mean": harmonic_mean([self._tasks[task].compute()["mIoU"] for task in self._primary]),
        }

    def _mean(self, figure: str) -> float:
        parts = self._tasks.values()
        values = np.concatenate([part.by_class()[figure] for part in parts])
        return mean_of(values, tuple(named for part in parts for named in part.level.named))


def harmonic_mean(values: Sequence[float]) -> float:
    """Return n / sum 1 / value, 0 where a value is 0, NaN of no value."""
    if not values:
        return float("nan")
    return 0.0 if min(values) == 0.0 else len(values) / sum(1.0 / value for value in values)
