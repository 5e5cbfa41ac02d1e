"""All figures of a validation run, by name; the names are known before there are data."""

import math
from collections.abc import Mapping

import torch

from coral_mtl.data.tasks import TaskKind, TaskSpec
from coral_mtl.metrics.classification import ClassificationMetrics
from coral_mtl.metrics.regression import RegressionMetrics

TaskMetrics = ClassificationMetrics | RegressionMetrics

_BY_KIND: dict[TaskKind, type[ClassificationMetrics] | type[RegressionMetrics]] = {
    "classification": ClassificationMetrics,
    "regression": RegressionMetrics,
}


def metric_names(tasks: Mapping[str, TaskSpec]) -> tuple[str, ...]:
    """Return the names of all figures that a run with these tasks produces."""
    of_tasks = (f"tasks.{task}.{name}" for task, spec in tasks.items() for name in _BY_KIND[spec.kind].names)
    return (*of_tasks, "global.loss", "global.score")


class MetricSet:
    """The figures of every task, `global.loss` (the plain sum of the tasks' losses) and `global.score`.

    `global.score` is the mean over the tasks of accuracy or R2, each at most 1; higher is better. A task without any
    labelled element has NaN figures, and the global figures are of the other tasks. A figure that is NaN for another
    reason, such as a diverged prediction, makes the global one NaN.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        self.tasks = dict(tasks)
        self.names = metric_names(self.tasks)
        self.reset()

    def reset(self) -> None:
        """Forget everything added so far."""
        self._by_task: dict[str, TaskMetrics] = {task: _BY_KIND[spec.kind](spec) for task, spec in self.tasks.items()}

    @torch.no_grad()
    def update(self, predictions: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> None:
        """Add a batch; a task that this batch has no targets for is left as it is."""
        for task, metrics in self._by_task.items():
            if task in targets:
                metrics.update(predictions[task], targets[task])

    def compute(self) -> dict[str, float]:
        """Return every figure of `names` over everything added so far."""
        by_task = {task: metrics.compute() for task, metrics in self._by_task.items()}
        seen = {task: metrics for task, metrics in self._by_task.items() if metrics.count}
        figures = {f"tasks.{task}.{name}": value for task, own in by_task.items() for name, value in own.items()}
        figures["global.loss"] = sum(by_task[task]["loss"] for task in seen) if seen else math.nan
        scores = [by_task[task][metrics.score] for task, metrics in seen.items()]
        figures["global.score"] = sum(scores) / len(scores) if scores else math.nan
        return figures
