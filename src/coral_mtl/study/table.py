"""Comparisons and studies for people: what is odd, the table, the verdict."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coral_mtl.diagnostics.text import shown
from coral_mtl.study.assessment import Assessment, Row
from coral_mtl.study.search import Found

ABSENT = "-"


def comparison_table(result: Assessment) -> RenderableType:
    """Return the whole result; names of strategies and tasks are shown so that they cannot act on the terminal."""
    parts: list[RenderableType] = [_line(f"differs: {text}", "bold red") for text in result.differences]
    parts += [_table(result), _line(legend(result)), *(_line(f"note: {note}") for note in result.notes)]
    for task, figures in result.single_task.items():
        parts.append(_line(f"{task} alone: {figures['metric']} {_spread(figures['mean'], figures['spread'])}"))
    parts += [_line(result.verdict.text, "bold"), _line(result.against_baseline)]
    return Group(*(part for part in parts if str(part)))


def study_table(found: Found) -> RenderableType:
    """Return the best trials of a study with their settings, and how many trials went otherwise."""
    keys = list(dict.fromkeys(key for trial in found.trials for key in trial.settings))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(["trial", *(f"{m} ({mode})" for m, mode in found.objectives.items()), *keys]):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for trial in found.trials:
        if trial.number in found.best:
            figures = [f"{trial.values[metric]:.4g}" for metric in found.objectives]
            settings = [_setting(trial.settings.get(key, ABSENT)) for key in keys]
            table.add_row(*(Text(shown(cell)) for cell in (trial.folder, *figures, *settings)))
    heading = "The best trial:"
    if len(found.objectives) > 1:
        heading = "The trade-offs: no trial is better than one of these in every figure (the Pareto front)."
    states = Counter(trial.state for trial in found.trials)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return Group(_line(heading if found.best else "No trial came to its end."), table, _line(f"Trials: {counts}."))


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(result: Assessment) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings, rows = cells(result)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, map(shown, row)))
    return table


def cells(result: Assessment) -> tuple[list[str], list[list[str]]]:
    """Return the headings of the table's columns, without those that say nothing, and its rows."""
    columns = [column for column in _columns(result) if _told(column[1], result.rows)]
    return [heading for heading, _ in columns], [[cell(row) for _, cell in columns] for row in result.rows]


def _columns(result: Assessment) -> list[tuple[str, Callable[[Row], str]]]:
    return [
        ("strategy", lambda row: row.strategy),
        (result.metric, lambda row: _spread(row.mean, row.spread)),
        (f"against {result.baseline}", _difference),
        ("p", lambda row: _figure(row.p, "{:.2g}")),
        ("effect", lambda row: _figure(row.difference and row.difference.effect, "{:+.2g}")),
        ("Delta-m %", lambda row: _signed_spread(row.delta_m, row.delta_m_spread)),
        ("rank", lambda row: _figure(row.mean_rank, "{:.2f}")),
        ("time", lambda row: _figure(row.time_ratio, "{:.2f}x")),
        ("memory", lambda row: _figure(row.memory_ratio, "{:.2f}x")),
        ("failed solves", lambda row: f"{row.failed_solves} of {row.solves}" if row.failed_solves else ""),
        ("skipped steps", lambda row: str(row.skipped_steps or "")),
        ("diverged", lambda row: f"{row.diverged} of {len(row.figures)}" if row.diverged else ""),
    ]


def _told(cell: Callable[[Row], str], rows: Sequence[Row]) -> bool:
    """Whether a column says anything."""
    return any(cell(row) not in ("", ABSENT) for row in rows)


def legend(result: Assessment) -> str:
    """Return what the table's columns mean."""
    better = "larger" if result.larger_is_better else "smaller"
    seeds = ", ".join(map(str, result.seeds))
    return (
        f"Last validation, mean and standard deviation over the seeds {seeds}; {better} is better. Differences paired "
        "by seed, with 95 % intervals; p corrected for the number of strategies (Holm); effect: Hedges' g. Delta-m "
        f"against {result.delta_m_baseline}; rank: mean over tasks and seeds; time a step and peak memory as ratios."
    )


def _difference(row: Row) -> str:
    if row.difference is None:
        return ABSENT
    text = f"{row.difference.mean:+.3g}"
    if row.difference.interval is None:
        return text
    low, high = row.difference.interval
    return f"{text} [{low:.2g}, {high:.2g}]"


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.4g}" + ("" if deviation is None else f" ± {deviation:.2g}")


def _signed_spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return ABSENT
    return f"{mean:+.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _figure(value: float | None, form: str) -> str:
    return ABSENT if value is None else form.format(value)


def _line(text: str, style: str = "") -> Text:
    return Text(shown(text), style=style)
