"""All of these figures for one task in one image; this is what the processes beside run, so torch is not needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coral_mtl.evaluation.surface.distances import surface_distances
from coral_mtl.evaluation.surface.segments import Segments, panoptic_qualities, partition_figures

PER_CLASS = ("ASSD", "HD95", "PQ")
FIGURES = (*PER_CLASS, "ARI", "VI")


@dataclass(frozen=True, slots=True)
class Classes:
    """What is measured: true and predicted classes (H, W), the true ones -1 where there is no label.

    labels: names of the classes. named: which of them to measure; the others are parts of the partition alone.
    """

    true: np.ndarray
    predicted: np.ndarray
    labels: tuple[str, ...]
    named: tuple[bool, ...]


def measure(tasks: Mapping[str, Classes]) -> dict[str, dict[str, Any]]:
    """Return for each task its figures in this image, and those of each class that is in it under `classes`.

    ASSD, HD95 and PQ are means over the classes that have one. A class that only one side has is at no distance: its
    ASSD and HD95 are NaN; its PQ is 0. Elements without a label belong to no class on either side.
    """
    return {task: _measured(classes) for task, classes in tasks.items()}


def _measured(classes: Classes) -> dict[str, Any]:
    true, predicted = classes.true, np.where(classes.true < 0, -1, classes.predicted)
    segments = Segments.of(true), Segments.of(predicted)
    qualities = panoptic_qualities(*segments, size=len(classes.labels))
    by_class = {
        label: dict(zip(PER_CLASS, (*_distances(true == own, predicted == own), float(qualities[own])), strict=True))
        for own, label in enumerate(classes.labels)
        if classes.named[own] and not np.isnan(qualities[own])
    }
    means = {name: mean([figures[name] for figures in by_class.values()]) for name in PER_CLASS}
    partition = partition_figures(*segments) if len(segments[0].classes) else dict.fromkeys(("ARI", "VI"), np.nan)
    return {**means, **partition, "classes": by_class}


def _distances(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    return surface_distances(true, predicted) or (np.nan, np.nan)


def mean(values: list[float]) -> float:
    """Return the mean of the values that are not NaN, NaN where there is none."""
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")
