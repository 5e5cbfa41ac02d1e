"""From the runs of a comparison to its table and its verdict."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coral_mtl.errors import DataError
from coral_mtl.study.measured import Measured
from coral_mtl.study.statistics import Difference, Panel, delta_m, holm, ranks, sample_deviation
from coral_mtl.study.target import Target, leading_targets
from coral_mtl.study.verdict import Field, Verdict, against_baseline, judge

Runs = Mapping[str, Mapping[int, Measured]]
"""Runs by strategy and seed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy.

    figures: by seed, None where the run diverged. mean, spread: over the seeds, with a diverged run taken as the worst
    of the comparison. difference: to the baseline; p: of it, adjusted over all strategies.
    delta_m, delta_m_spread: mean and standard deviation over the seeds, in percent.
    mean_rank: over seeds and tasks, 1 is best.
    time_ratio, memory_ratio: of means to the baseline's. solves, failed_solves, skipped_steps: over all seeds.
    """

    strategy: str
    figures: dict[int, float | None]
    mean: float
    spread: float | None
    difference: Difference | None
    p: float | None
    delta_m: float | None
    delta_m_spread: float | None
    mean_rank: float | None
    seconds_per_step: float | None
    time_ratio: float | None
    memory: float | None
    memory_ratio: float | None
    solves: int
    failed_solves: int
    skipped_steps: int
    diverged: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """A table with a verdict.

    baseline: the strategy of the differences and ratios. delta_m_baseline: what Delta-m is relative to.
    differences: in what else than their strategies the runs differ; there is a winner only where there are none.
    rows: best first. single_task: figures of the runs on one task alone, by task.
    against_baseline: a sentence on who is better or worse, empty where there are too few seeds.
    notes: how the runs came about, for those who judge the result.
    """

    metric: str
    larger_is_better: bool
    seeds: tuple[int, ...]
    baseline: str
    delta_m_baseline: str
    differences: tuple[str, ...]
    rows: tuple[Row, ...]
    single_task: dict[str, dict[str, Any]]
    verdict: Verdict
    against_baseline: str
    notes: tuple[str, ...]


def assess(
    runs: Runs,
    target: Target,
    baseline: str,
    *,
    single_task: Runs | None = None,
    differences: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Assessment:
    """Compare strategies over the seeds that all of them have.

    Args:
        runs: two strategies or more.
        target: the figure to compare by.
        baseline: one of the strategies.
        single_task: runs on one task alone, by task; what Delta-m is relative to where there are any.
        differences: in what else than their strategies the runs differ.
        notes: how the runs came about.

    Raises:
        DataError: no seed is common to all, or every run diverged.
    """
    single, differences = single_task or {}, tuple(differences)
    seeds = tuple(sorted(set.intersection(*(set(by_seed) for by_seed in (*runs.values(), *single.values())))))
    if not seeds:
        raise DataError("the strategies have no seed in common, so that nothing can be paired\n    run the same seeds")
    common = {label: [by_seed[seed] for seed in seeds] for label, by_seed in runs.items()}
    figures = np.array([[run.figure(target.metric) for run in each] for each in common.values()])
    diverged = np.isnan(figures).sum(axis=1).tolist()
    panel = Panel(_worst_for_diverged(figures, target), apart=np.flatnonzero(diverged).tolist())
    differences_to = _differences(panel, list(runs), baseline)
    p_values = _adjusted(differences_to)
    alone = {task: [by_seed[seed] for seed in seeds] for task, by_seed in single.items()}
    gains = _Gains(common, alone, baseline)
    rows = [
        Row(
            strategy=label,
            figures={s: None if math.isnan(x) else x for s, x in zip(seeds, figures[k].tolist(), strict=True)},
            mean=float(panel.figures[k].mean()),
            spread=sample_deviation(panel.figures[k]),
            difference=differences_to.get(label),
            p=p_values.get(label),
            **gains.of(label),
            mean_rank=gains.mean_ranks[k] if gains.mean_ranks else None,
            **_cost(common[label], common[baseline]),
            diverged=diverged[k],
        )
        for k, label in enumerate(runs)
    ]
    field = Field(tuple(runs), panel, diverged, target.sign)
    return Assessment(
        metric=target.metric,
        larger_is_better=target.larger_is_better,
        seeds=seeds,
        baseline=baseline,
        delta_m_baseline="single-task runs" if single else baseline,
        differences=differences,
        rows=tuple(rows[k] for k in field.ranking()),
        single_task=gains.single_task,
        verdict=judge(field, differences),
        against_baseline=against_baseline(differences_to, p_values, baseline, target.sign) if p_values else "",
        notes=tuple(notes),
    )


def _worst_for_diverged(figures: np.ndarray, target: Target) -> np.ndarray:
    """Put the worst figure that any run reached in the place of those that are not there."""
    if np.isnan(figures).all():
        raise DataError("every run diverged: there is nothing to compare\n    lower the learning rate")
    worst = np.nanmin(figures) if target.larger_is_better else np.nanmax(figures)
    return np.where(np.isnan(figures), worst, figures)


def _differences(panel: Panel, labels: list[str], baseline: str) -> dict[str, Difference]:
    base = labels.index(baseline)
    return {label: panel.difference(k, base) for k, label in enumerate(labels) if k != base}


def _adjusted(differences: Mapping[str, Difference]) -> dict[str, float]:
    p_values = {label: difference.p for label, difference in differences.items() if difference.p is not None}
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


class _Gains:
    """What strategies gain and lose over all tasks: Delta-m and mean ranks, by each task's leading figure."""

    def __init__(self, runs: Mapping[str, list[Measured]], single: Mapping[str, list[Measured]], baseline: str) -> None:
        self._runs = runs
        self._leading = leading_targets(name for each in runs.values() for run in each for name in run.metrics)
        self._single = single
        self._reference = {task: self._values(single.get(task, runs[baseline]), task) for task in self._leading}
        self.mean_ranks = self._mean_ranks()

    def of(self, label: str) -> dict[str, Any]:
        """Delta-m of a strategy with its spread; None where a run diverged or the baseline has no scale."""
        values = {task: self._values(self._runs[label], task) for task in self._leading}
        larger = {task: target.larger_is_better for task, target in self._leading.items()}
        gains = [
            delta_m({t: values[t][k] for t in values}, {t: self._reference[t][k] for t in values}, larger)
            for k in range(len(self._runs[label]))
        ]
        known = np.array([gain for gain in gains if gain is not None])
        if len(known) < len(gains):  # one is missing: the others would say too much
            return {"delta_m": None, "delta_m_spread": None}
        return {"delta_m": float(known.mean()), "delta_m_spread": sample_deviation(known)}

    @property
    def single_task(self) -> dict[str, dict[str, Any]]:
        """Mean and spread of the leading figure of each run on one task alone."""
        figures: dict[str, dict[str, Any]] = {}
        for task in self._single:
            values = self._reference[task]
            spread = sample_deviation(values)
            figures[task] = {"metric": self._leading[task].metric, "mean": float(values.mean()), "spread": spread}
        return figures

    def _values(self, runs: list[Measured], task: str) -> np.ndarray:
        return np.array([run.figure(self._leading[task].metric) for run in runs])

    def _mean_ranks(self) -> list[float]:
        """Mean over seeds and tasks of each strategy's rank, a diverged run being last; empty without tasks."""
        columns: list[np.ndarray] = []
        for task, target in self._leading.items():
            better = target.sign * np.array([self._values(runs, task) for runs in self._runs.values()])
            columns += list(np.apply_along_axis(ranks, 0, np.where(np.isnan(better), -np.inf, better)).T)
        return np.mean(columns, axis=0).tolist() if columns else []


def _cost(runs: list[Measured], base: list[Measured]) -> dict[str, Any]:
    seconds, memory = _mean(run.seconds_per_step for run in runs), _mean(run.memory for run in runs)
    return {
        "seconds_per_step": seconds,
        "time_ratio": _ratio(seconds, _mean(run.seconds_per_step for run in base)),
        "memory": memory,
        "memory_ratio": _ratio(memory, _mean(run.memory for run in base)),
        "solves": sum(run.health.solves for run in runs),
        "failed_solves": sum(run.health.failed_solves for run in runs),
        "skipped_steps": sum(run.health.skipped_steps for run in runs),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(figure: float | None, base: float | None) -> float | None:
    return figure / base if figure is not None and base else None
