"""What the sections of a report hold, put together for its template."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from coral_mtl.diagnostics.finding import percent
from coral_mtl.report.charts import restarts
from coral_mtl.report.groups import Group, differences
from coral_mtl.report.pictures import MOST_TASKS, dots, marks, matrix, scatter
from coral_mtl.report.runs import Material, ReportedRun
from coral_mtl.report.sections import Sections
from coral_mtl.report.summary import (
    Change,
    baseline,
    change,
    concerns,
    main_metric,
    memory,
    metric_names,
    oddities,
    spread,
    task_metrics,
    times,
)
from coral_mtl.report.wording import ABSENT, figure, name, signed
from coral_mtl.study.assessment import Assessment
from coral_mtl.study.table import cells, legend

_HEADINGS = {
    "verdict": "Verdict",
    "results": "Results",
    "cost": "Cost",
    "validation": "Who pays?",
    "losses": "Losses",
    "conflict": "Conflict",
    "norms": "Norms",
    "weights": "Weights",
    "updates": "Updates",
    "health": "Health",
    "configuration": "Configuration",
}


def contents(groups: Sequence[Group], material: Material, charts: Sections) -> dict[str, Any]:
    """Return the variables of the template."""
    parts = {
        "title": _title(material.runs),
        "groups": groups,
        "runs": material.runs,
        "charts": charts,
        "told": [
            *material.left_out,
            *(oddities(groups) if isinstance(material.assessment, str) else ()),
            *_not_drawn(groups),
        ],
        **_verdict(groups, material.assessment),
        "most_points": max((len(line.curve.buckets) for chart in charts.all() for line in chart.lines), default=0),
        "longest": max((chart.length for chart in charts.all()), default=1),
        **_results(groups),
        **_who_pays(groups, material.assessment),
        **_conflict(groups),
        "restarted": any(restarts(group) for group in groups),
        "concerns": concerns(groups),
        "health": [_health(run) for group in groups for run in group.runs],
        "remarks": [remark for run in material.runs for remark in run.remarks],
        "differing": differences(groups) if len(groups) > 1 else {},
        "configured": any(run.settings for run in material.runs),
        "facts": lambda run: list(_facts(run)),
        "again": _again,
        "command": material.command,
    }
    present = {anchor for anchor in _HEADINGS if not hasattr(charts, anchor) or getattr(charts, anchor)}
    present -= set() if parts["scatter"] else {"cost"}
    present |= {"conflict", "health"}
    return parts | {"sections": {anchor: _HEADINGS[anchor] for anchor in _HEADINGS if anchor in present}}


def _title(runs: Sequence[ReportedRun]) -> str:
    names = list(dict.fromkeys(str(run.facts.get("name") or run.path.name) for run in runs))
    return name(f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}", 120)


def _not_drawn(groups: Sequence[Group]) -> Iterator[str]:
    most = max(len(group.drawn) for group in groups)
    if any(len(group.runs) > len(group.drawn) for group in groups):
        runs = f"{most} runs" if most > 1 else "run"
        yield f"Curves are of the first {runs} of each strategy; verdict and tables are of all runs."


def _results(groups: Sequence[Group]) -> dict[str, Any]:
    main = main_metric(groups)
    metrics = {main: main} if main else {}
    metrics |= {metric: metric.removeprefix("tasks.") for metric in task_metrics(groups).values()}
    return {
        "metrics": metrics,
        "every_metric": metric_names(groups),
        "metric": lambda group, metric: spread(group.metric(metric)),
        "times": times,
        "memory": memory,
        "steps": _steps,
        "scatter": scatter(groups, main) if main else None,
    }


def _verdict(groups: Sequence[Group], assessment: Assessment | str) -> dict[str, Any]:
    """What is to be said first, and the table of a comparison with its picture: one mark a row."""
    if isinstance(assessment, str):
        single = groups[0].runs[0].diagnosis.advice
        words = [single.sentence] if len(groups) == 1 else [f"No verdict: {assessment}."]
        return {"verdict": words, "differing_runs": (), "comparison": None, "workflow": single.workflow}
    colours = {group.label: colour for colour, group in enumerate(groups)}
    headings, rows = cells(assessment)
    return {
        "verdict": [assessment.verdict.text, *filter(None, [assessment.against_baseline])],
        "differing_runs": assessment.differences,
        "comparison": {
            "headings": headings[1:],
            "legend": legend(assessment),
            "rows": [
                {"label": row.strategy, "colour": colours.get(row.strategy), "cells": words[1:], "mark": mark}
                for row, words, mark in zip(assessment.rows, rows, marks(assessment), strict=True)
            ],
            "alone": assessment.single_task,
        },
        "workflow": (),
    }


def _who_pays(groups: Sequence[Group], assessment: Assessment | str) -> dict[str, Any]:
    """Changes of each task's metric against the baseline, all of a task on one scale."""
    metrics = task_metrics(groups)
    base = baseline(groups, None if isinstance(assessment, str) else assessment.baseline)
    others = [(colour, group) for colour, group in enumerate(groups) if group is not base]
    changes = {metric: [change(group, base, metric) for _, group in others] for metric in metrics.values()}
    payers: list[dict[str, Any]] = [
        {
            "label": group.label,
            "colour": colour,
            "cells": [_change(column[place], column) for column in changes.values()],
        }
        for place, (colour, group) in enumerate(others)
    ]
    some = any(cell for row in payers for cell in row["cells"])
    headings = {metric: metric.removeprefix("tasks.") for metric in metrics.values()}
    return {"payers": payers if some else [], "payer_metrics": headings, "base": base.label}


def _change(found: Change | None, column: Sequence[Change | None]) -> dict[str, Any] | None:
    if found is None:
        return None
    reach = max(abs(value) for other in column if other for value in other.changes.values)
    deviation = found.changes.deviation
    return {
        "mean": signed(found.changes.mean),
        "deviation": None if deviation is None else figure(deviation, 2),
        "better": found.better,
        "dots": dots(found.changes.values, reach) if found.paired else [],
        "x": dots([found.changes.mean], reach)[0],
    }


def _conflict(groups: Sequence[Group]) -> dict[str, Any]:
    tables = [table for colour, group in enumerate(groups) if (table := matrix(group, colour))]
    return {"matrices": tables, "matrices_cut": any(len(group.tasks) > MOST_TASKS for group in groups)}


def _steps(group: Group) -> str:
    steps = {run.diagnosis.statistics.last_step for run in group.runs}
    return f"{min(steps):,}" if len(steps) == 1 else f"{min(steps):,} to {max(steps):,}"


def _health(run: ReportedRun) -> dict[str, str]:
    statistics, curves = run.diagnosis.statistics, run.curves
    residual, reused, seconds = (curves.curve(each) for each in ("residual", "reused", "seconds"))
    skipped = statistics.skipped.total()
    return {
        "name": run.name,
        "status": str(run.facts.get("status", "not known")),
        "records": f"{statistics.records:,}",
        "measured": f"{statistics.measured:,}",
        "solves": ", ".join(f"{count:,} {status}" for status, count in statistics.statuses.most_common()) or "none",
        "residual": figure(float(residual.highs.max()), 2) if len(residual.highs) else ABSENT,
        "reused": percent(reused.mean) if len(reused.means) else ABSENT,
        "milliseconds": figure(1000.0 * seconds.mean, 2) if len(seconds.means) else ABSENT,
        "skipped": f"{skipped:,}" + (f": {statistics.skipped.most_common(1)[0][0]}" if skipped else ""),
    }


def _facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """What is known of where and how a run ran."""
    yield "folder", str(run.path)
    for key in ("id", "status", "seed", "commit", "host", "started", "updated"):
        if run.facts.get(key) is not None:
            yield key, str(run.facts[key])
    environment = run.facts.get("environment")
    if isinstance(environment, dict):
        yield "environment", ", ".join(f"{key} {value}" for key, value in environment.items())


def _again(run: ReportedRun) -> str:
    """The command that trains a run's resolved configuration in a new folder."""
    folder = run.path.with_name(f"{run.path.name}_again")
    return shlex.join(["coral-mtl", "train", str(run.path / "config.yaml"), f"trainer.output_dir={folder}"])
