"""All figures of a validation run, by name; the names are known before there are data."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.metrics.classification import ClassificationMetrics
from coral_mtl.metrics.judgements import JudgementMetrics
from coral_mtl.metrics.polygon_iou import PolygonIoU
from coral_mtl.metrics.regression import RegressionMetrics
from coral_mtl.metrics.segmentation.levels import GROUPED
from coral_mtl.metrics.segmentation.task_metrics import SegmentationMetrics
from coral_mtl.metrics.segmentation.union import UnionMetrics
from coral_mtl.options import PositiveInt, ProperFraction


class TaskMetrics(Protocol):
    """The figures of one task: their names, which of them is the score, and of how many elements they are."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def score(self) -> str: ...
    @property
    def count(self) -> int: ...

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None: ...
    def compute(self) -> dict[str, float]: ...


@registry.metrics.register
class MetricSet:
    """The figures of every task, `global.loss` (the plain sum of the tasks' losses) and `global.score`.

    `global.score` is the mean over the tasks of accuracy, R2, grouped mIoU, IoU of polygons or 2AFC score, each at most
    1; higher is better. With segmentation tasks there are also `global.mIoU`, ..., `global.H-Mean` over all of these,
    see UnionMetrics. A task without any labelled element has NaN figures, and the global figures are of the other
    tasks. A figure that is NaN for another reason, such as a diverged prediction, makes the global one NaN.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        primary_tasks: Sequence[str] | None = None,
        boundary_thickness: ProperFraction = 0.02,
        calibration_bins: PositiveInt = 15,
    ) -> None:
        """Prepare the figures of `tasks`; all options are of segmentation tasks.

        Args:
            primary_tasks: tasks whose harmonic mean is `global.H-Mean`; null takes every segmentation task.
            boundary_thickness: how far from a contour boundary IoU and F1 look, as a share of the image's diagonal;
                at least one pixel (default 0.02, as Cheng et al. 2021 for COCO; they take 0.005 for Cityscapes).
            calibration_bins: bins of the expected calibration error (default 15).

        Raises:
            ConfigError: a primary task is not a segmentation task of this data set, or is named twice.
        """
        self.tasks = dict(tasks)
        self._segmented = [task for task, spec in self.tasks.items() if spec.kind == "segmentation"]
        self.primary_tasks = self._segmented if primary_tasks is None else self._checked(primary_tasks)
        self.boundary_thickness = boundary_thickness
        self.calibration_bins = calibration_bins
        self.reset()
        of_tasks = (f"tasks.{task}.{name}" for task, metrics in self.by_task.items() for name in metrics.names)
        of_union = (f"global.{name}" for name in UnionMetrics.names if self._segmented)
        self.names = (*of_tasks, *of_union, "global.loss", "global.score")

    def unused_options(self) -> dict[str, str]:
        if self._segmented:
            return {}
        reason = "no task of this data set is a segmentation"
        return dict.fromkeys(("primary_tasks", "boundary_thickness", "calibration_bins"), reason)

    def _checked(self, primary: Sequence[str]) -> list[str]:
        if not primary or len({*primary} & {*self._segmented}) != len(primary):
            raise ConfigError(
                f"primary_tasks: [{', '.join(primary)}] are not one or more different segmentation tasks\n"
                f"    this data set has: {', '.join(self._segmented) or 'none'}",
                option="primary_tasks",
            )
        return list(primary)

    def reset(self) -> None:
        """Forget everything added so far."""
        self.by_task: dict[str, TaskMetrics] = {task: self._metrics_of(spec) for task, spec in self.tasks.items()}

    def _metrics_of(self, spec: TaskSpec) -> TaskMetrics:
        if spec.kind == "segmentation":
            return SegmentationMetrics(
                spec, boundary_thickness=self.boundary_thickness, calibration_bins=self.calibration_bins
            )
        if spec.kind == "polygon":
            return PolygonIoU()
        if spec.kind == "judgement":
            return JudgementMetrics()
        return ClassificationMetrics(spec) if spec.kind == "classification" else RegressionMetrics(spec)

    @torch.no_grad()
    def update(self, predictions: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> None:
        """Add a batch; a task that this batch has no targets for is left as it is."""
        for task, metrics in self.by_task.items():
            if task in targets:
                metrics.update(predictions[task], targets[task])

    def compute(self) -> dict[str, float]:
        """Return every figure of `names` over everything added so far."""
        by_task = {task: metrics.compute() for task, metrics in self.by_task.items()}
        seen = {task: metrics for task, metrics in self.by_task.items() if metrics.count}
        figures = {f"tasks.{task}.{name}": value for task, own in by_task.items() for name, value in own.items()}
        if self._segmented:
            figures |= {f"global.{name}": value for name, value in self._union(seen).compute().items()}
        figures["global.loss"] = sum(by_task[task]["loss"] for task in seen) if seen else math.nan
        scores = [by_task[task][metrics.score] for task, metrics in seen.items()]
        figures["global.score"] = sum(scores) / len(scores) if scores else math.nan
        return figures

    def _union(self, seen: Mapping[str, TaskMetrics]) -> UnionMetrics:
        segmented = {task: metrics for task, metrics in seen.items() if isinstance(metrics, SegmentationMetrics)}
        grouped = {task: metrics.levels[GROUPED] for task, metrics in segmented.items()}
        return UnionMetrics(grouped, [task for task in self.primary_tasks if task in grouped])
