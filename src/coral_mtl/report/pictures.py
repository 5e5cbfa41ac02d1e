"""Where the marks of the small pictures go that are no line charts: scatter, dots of changes, cosine tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from coral_mtl.diagnostics.finding import two_digits
from coral_mtl.report.groups import Group
from coral_mtl.report.summary import lower_is_better, spread, times
from coral_mtl.study.assessment import Assessment

MOST_TASKS = 24
_SHADES = 9
_TOP, _BOTTOM = 14.0, 286.0
_LEFT, _RIGHT = 10.0, 96.0
_LABEL_HEIGHT = 17.0
_LETTER = 1.6  # percent of the width


@dataclass(slots=True)
class Point:
    """A mark of the scatter: x in percent of the width, y in pixels; `label` is empty for a single run."""

    x: float
    y: float
    colour: int
    label: str = ""
    label_y: float = 0.0

    @property
    def left_of_point(self) -> bool:
        """Whether the label stands to the left, for want of room."""
        return self.x > 70.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis, and where it stands."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Gain against cost."""

    metric: str
    better: str
    points: tuple[Point, ...]
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The mean cosines of a group: one row a task, one cell (text and shade) a task, None on and above the diagonal."""

    label: str
    colour: int
    tasks: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A difference with its interval, in percent of an axis."""

    low: float
    mean: float
    high: float


def scatter(groups: Sequence[Group], metric: str) -> Scatter | None:
    """Return the picture of a metric against the time of a step, None where fewer than two groups have both."""
    means, runs = [], []
    for colour, group in enumerate(groups):
        time, gain = times(group), spread(group.metric(metric))
        if time is not None and gain is not None:
            means.append((time.mean, gain.mean, colour, group.label))
            found = [(run.milliseconds, run.results.get(metric)) for run in group.runs]
            runs += [(x, y, colour) for x, y in found if x is not None and y is not None]
    if len(means) < 2:
        return None
    costs = [x for x, *_ in means] + [x for x, *_ in runs]
    gains = [y for _, y, *_ in means] + [y for _, y, *_ in runs]
    across, up = ticks(0.0, max(costs)), ticks(min(gains), max(gains))

    def column(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (value - across[0]) / (across[-1] - across[0])

    def row(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - up[0]) / (up[-1] - up[0])

    points = [Point(column(x), row(y), colour) for x, y, colour in runs]
    labelled = [Point(column(x), row(y), colour, label) for x, y, colour, label in means]
    _spread_labels(labelled)
    return Scatter(
        metric,
        "Lower" if lower_is_better(metric) else "Higher",
        (*points, *labelled),
        tuple(Tick(row(value), f"{value:g}") for value in up),
        tuple(Tick(column(value), f"{value:g}") for value in across),
    )


def matrix(group: Group, colour: int) -> Matrix | None:
    """Return the group's table of mean cosines over all its runs' records, None where none was measured."""
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for run in group.runs:
        for pair, figures in run.diagnosis.statistics.cosines.figures().items():
            if figures.count:
                total, count = sums.get(pair, (0.0, 0))
                sums[pair] = total + figures.mean * figures.count, count + figures.count
    tasks = [task for task in group.tasks if any(task in pair for pair in sums)][:MOST_TASKS]
    cosines = {pair: total / count for pair, (total, count) in sums.items()}
    rows = tuple(
        {"task": a, "cells": [_cell(cosines.get((min(a, b), max(a, b)))) for b in tasks[:place]]}
        for place, a in enumerate(tasks)
        if place
    )
    return Matrix(group.label, colour, tuple(tasks[:-1]), rows) if rows else None


def marks(assessment: Assessment) -> list[Mark | None]:
    """Return where each difference to the baseline and its interval lie, all on one axis with 0 in its middle.

    None for the baseline, and where there are too few seeds for intervals.
    """
    found = [row.difference for row in assessment.rows]
    ends = [abs(end) for each in found if each and each.interval for end in each.interval]
    reach = max(ends, default=0.0)
    return [
        Mark(*dots([each.interval[0], each.mean, each.interval[1]], reach)) if each and each.interval else None
        for each in found
    ]


def dots(values: Sequence[float], reach: float) -> list[float]:
    """Return where values lie on an axis from -reach to reach, in percent of its length."""
    return [50.0 + 48.0 * value / reach if reach else 50.0 for value in values]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers in equal distances, from at most `low` to at least `high`."""
    if high <= low:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    rough = (high - low) / (most - 1)
    unit = 10.0 ** floor(log10(rough))
    step = next(factor * unit for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * unit >= rough)
    return [number * step for number in range(floor(low / step), ceil(high / step) + 1)]


def _cell(cosine: float | None) -> dict[str, Any] | None:
    if cosine is None:
        return None
    return {"text": two_digits(cosine), "shade": round((1.0 - cosine) / 2.0 * (_SHADES - 1))}


def _spread_labels(points: list[Point]) -> None:
    """Put the labels beside their points, moved down where they would cover one another."""
    placed: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda point: point.y):
        width = _LETTER * len(point.label)
        left = point.x - width if point.left_of_point else point.x
        point.label_y = point.y
        for other_left, other_right, y in placed:
            if left < other_right and other_left < left + width:
                point.label_y = max(point.label_y, y + _LABEL_HEIGHT)
        placed.append((left, left + width, point.label_y))
