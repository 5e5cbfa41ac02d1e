"""The figures of one segmentation task."""

from torch import Tensor

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError
from coral_mtl.metrics.segmentation.level_metrics import LevelMetrics
from coral_mtl.metrics.segmentation.levels import GROUPED, UNGROUPED, levels_of, log_softmax


class SegmentationMetrics:
    """`grouped.mIoU`, `grouped.NLL`, ... for every task, `ungrouped.mIoU`, ... where its classes have groups, and
    `loss`: the mean cross-entropy over the task's own classes. Figures of no labelled element are NaN.
    """

    score = "grouped.mIoU"

    def __init__(self, task: TaskSpec, *, boundary_thickness: float, calibration_bins: int) -> None:
        self._task = task
        self.levels = {
            level.name: LevelMetrics(level, boundary_thickness=boundary_thickness, calibration_bins=calibration_bins)
            for level in levels_of(task)
        }
        self.names = (*(f"{level}.{name}" for level in self.levels for name in LevelMetrics.names), "loss")

    @property
    def count(self) -> int:
        """How many labelled elements the figures are of."""
        return self.levels[GROUPED].calibration.count

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch: logits (N, size, H, W) and class indices (N, H, W).

        Raises:
            DataError: their shapes do not fit, or a target is neither a class nor the task's `ignore_index`.
        """
        target = target.long()
        self._check(prediction, target)
        log_p = log_softmax(prediction)
        for level in self.levels.values():
            level.update(prediction, log_p, target)

    def _check(self, prediction: Tensor, target: Tensor) -> None:
        task = self._task
        if target.ndim != 3 or prediction.shape != (len(target), task.size, *target.shape[1:]):
            raise DataError(
                f"a segmentation target of shape {tuple(target.shape)} and a prediction of shape "
                f"{tuple(prediction.shape)} do not fit a task of {task.size} classes"
            )
        wrong = target[(target != task.ignore_index) & ((target < 0) | (target >= task.size))]
        if wrong.numel():
            raise DataError(
                f"a segmentation target has the class {int(wrong[0])}, and the task has {task.size} classes and the "
                f"ignore_index {task.ignore_index}"
            )

    def compute(self) -> dict[str, float]:
        """Return every figure of `names` over everything added so far."""
        by_level = {name: level.compute() for name, level in self.levels.items()}
        figures = {f"{level}.{name}": value for level, own in by_level.items() for name, value in own.items()}
        own_classes = by_level.get(UNGROUPED, by_level[GROUPED])
        return figures | {"loss": own_classes["NLL"]}
