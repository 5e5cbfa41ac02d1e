"""What report.json says."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coral_mtl.evaluation.trained import TrainedRun
from coral_mtl.metrics import MetricSet
from coral_mtl.metrics.segmentation.level_metrics import LevelMetrics
from coral_mtl.metrics.segmentation.task_metrics import SegmentationMetrics

SCHEMA = 1


def report_of(trained: TrainedRun, settings: Mapping[str, Any], surface: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the contents of report.json.

    Args:
        trained: what was evaluated, its metrics as they are after the last image.
        settings: how it was evaluated.
        surface: averages of the surface metrics by task; None where they were not asked for.
    """
    facts, metrics = trained.folder.facts, trained.experiment.metrics
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "run": {name: facts.get(name) for name in ("id", "name", "strategy", "seed")} | {"step": trained.step},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "environment": trained.environment,
        "metrics": metrics.compute(),
    }
    if isinstance(metrics, MetricSet) and trained.segmentations:
        options = ("primary_tasks", "boundary_thickness", "calibration_bins")
        report["settings"] |= {"metrics": {name: getattr(metrics, name) for name in options}}
        report["classes"] = {
            task: {name: _classes(level) for name, level in each.levels.items()}
            for task, each in metrics.by_task.items()
            if isinstance(each, SegmentationMetrics)
        }
    return report if surface is None else {**report, "surface": dict(surface)}


def _classes(metrics: LevelMetrics) -> dict[str, dict[str, Any]]:
    """Each class's figures by its label; `pixels` of the targets, `predicted_pixels` of the predictions."""
    figures = {
        **metrics.by_class(),
        "pixels": metrics.confusion.sum(axis=1),
        "predicted_pixels": metrics.confusion.sum(axis=0),
    }
    return {
        label: {name: values[index].item() for name, values in figures.items()}
        for index, label in enumerate(metrics.level.labels)
    }
