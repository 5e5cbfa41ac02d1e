"""The line charts of a report: which curves, over the same steps, as plain figures for a page or a paper."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coral_mtl.diagnostics.curves import Curve, merged
from coral_mtl.diagnostics.reader import Pair
from coral_mtl.report.groups import Group

MOST_LINES = 12
MOST_POINTS = 160
NOISY = 64
_RESTART = 1.5
"""A learning rate that rises to this many times its lowest since its peak was started again."""


@dataclass(frozen=True, slots=True)
class Line:
    """The curves of one or several runs under one name, drawn as one line with a band; and the number of its colour."""

    name: str
    colour: int
    runs: tuple[Curve, ...]

    @property
    def curve(self) -> Curve:
        """The mean of all records; its band runs from the lowest to the highest record of one run, or of several runs
        from the lowest mean of a run to the highest."""
        if len(self.runs) == 1:
            return self.runs[0]
        return merged([replace(run, lows=run.means, highs=run.means) for run in self.coarsened(1).runs])

    def coarsened(self, length: int) -> "Line":
        """Return the line with all its curves in buckets of equal length, of `length` steps or more."""
        length = max([length, *(run.length for run in self.runs)])
        return replace(self, runs=tuple(run.coarsened(length) for run in self.runs))


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over optimiser steps.

    key: a name for files and anchors. family: what the colours stand for, "strategy" or "task".
    logarithmic: whether the vertical axis is. limits: its ends where they are known before the data.
    marks: steps at which the learning rate was started again. note: what the reader has to know.
    most_points: of a line; more of them are finer than the screen, or so noisy that nothing can be seen.
    """

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    family: str = "strategy"
    logarithmic: bool = False
    limits: tuple[float, float] | None = None
    marks: tuple[int, ...] = ()
    note: str = ""
    most_points: int = MOST_POINTS

    @property
    def numbers(self) -> int:
        """How many figures the chart holds."""
        return 3 * sum(len(run.buckets) for line in self.lines for run in line.runs[:1])

    @property
    def length(self) -> int:
        """Steps in the longest bucket."""
        return max(run.length for line in self.lines for run in line.runs)

    def aligned(self, length: int = 1) -> "Chart":
        """Return the chart with all lines in buckets of equal length, of `length` steps or more."""
        length = max(length, self.length)
        return replace(self, lines=tuple(line.coarsened(length) for line in self.lines))


def fitted(charts: Iterable[Chart], budget: int) -> list[Chart]:
    """Return the charts coarse enough to be drawn, and to hold at most `budget` figures together."""
    fitting = [_within(chart.aligned(), chart.most_points) for chart in charts]
    most = MOST_POINTS
    while sum(chart.numbers for chart in fitting) > budget and most > 16:
        most //= 2
        fitting = [_within(chart, most) for chart in fitting]
    return fitting


def _within(chart: Chart, most: int) -> Chart:
    while max(len(run.buckets) for line in chart.lines for run in line.runs) > most:
        chart = chart.aligned(2 * chart.length)
    return chart


def by_strategy(
    key: str, title: str, unit: str, groups: Sequence[Group], name: Hashable, **options: Any
) -> Iterator[Chart]:
    """Yield a chart of one series with a line for each group that has it; nothing where none has."""
    lines = [Line(group.label, place, group.curves(name)) for place, group in enumerate(groups)]
    yield from _chart(key, title, unit, lines, marks=_all_restarts(groups), **options)


def by_task(group: Group, place: int, kind: str, unit: str, tasks: Sequence[str], **options: Any) -> Iterator[Chart]:
    """Yield a chart of one group with a line for each task that has figures of this kind; nothing where none has."""
    lines = [Line(task, colour, group.curves((kind, task))) for colour, task in enumerate(tasks)]
    options |= {"family": "task", "marks": restarts(group)}
    yield from _chart(f"{kind}-{place}", group.label, unit, lines, **options)


def by_pair(group: Group, place: int, pairs: Sequence[Pair], note: str) -> Iterator[Chart]:
    """Yield a chart of the cosines of one group's pairs of tasks; nothing where none was measured."""
    lines = [Line(f"{a} and {b}", colour, group.curves(("cosine", (a, b)))) for colour, (a, b) in enumerate(pairs)]
    options: dict[str, Any] = {"family": "task", "marks": restarts(group), "limits": (-1.0, 1.0), "note": note}
    options["most_points"] = NOISY
    yield from _chart(f"cosine-{place}", group.label, "cosine", lines, **options)


def of_metric(key: str, metric: str, title: str, groups: Sequence[Group], note: str) -> Iterator[Chart]:
    """Yield a chart of one validation metric with a line for each group that has it."""
    lines = [Line(group.label, colour, group.validation_curves(metric)) for colour, group in enumerate(groups)]
    yield from _chart(key, title, metric.rpartition(".")[2], lines, note=note)


def restarts(group: Group) -> tuple[int, ...]:
    """Return the steps after which the learning rate rose by half or more, having fallen before."""
    curve = merged(group.curves("lr"))
    found, peak, lowest, after = [], -np.inf, np.inf, 0
    for bucket, low, mean, high in zip(curve.buckets, curve.lows, curve.means, curve.highs, strict=True):
        if high >= _RESTART * lowest:
            found.append(int(after * curve.length))
            peak, lowest = mean, np.inf
        elif mean >= peak and lowest == np.inf:
            peak = mean
        elif 0.0 < low <= lowest:
            lowest, after = low, bucket + 1
    return tuple(found)


def _all_restarts(groups: Sequence[Group]) -> tuple[int, ...]:
    return tuple(sorted({step for group in groups for step in restarts(group)}))


def _chart(key: str, title: str, unit: str, lines: Sequence[Line], **options: Any) -> Iterator[Chart]:
    """Yield the chart of the lines that have any point to show, the first 12 of them."""
    notes = [options.pop("note", "")]
    if options.get("logarithmic"):
        if any((run.lows <= 0.0).any() for line in lines for run in line.runs):
            notes.append("Figures of 0 cannot be shown on a logarithmic axis.")
        lines = [replace(line, runs=tuple(map(_positive, line.runs))) for line in lines]
    shown = [line for line in lines if any(len(run.buckets) for run in line.runs)]
    if len(shown) > MOST_LINES:
        notes.append(f"The first {MOST_LINES} of {len(shown)} lines.")
    if shown:
        yield Chart(key, title, unit, tuple(shown[:MOST_LINES]), note=" ".join(filter(None, notes)), **options)


def _positive(curve: Curve) -> Curve:
    """The curve as far as a logarithmic axis can show it."""
    some = curve.means > 0.0
    means, lows = curve.means[some], curve.lows[some]
    lows = np.where(lows > 0.0, lows, means.min(initial=np.inf))
    return Curve(curve.length, curve.buckets[some], curve.counts[some], means, lows, curve.highs[some])
