"""A run in the terminal, while it trains or as it ended: losses, weights, norms, conflict, time."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coral_mtl.diagnostics.curves import Curve
from coral_mtl.diagnostics.finding import percent, two_digits
from coral_mtl.diagnostics.reader import Record
from coral_mtl.diagnostics.text import shown
from coral_mtl.running.pace import duration
from coral_mtl.running.watched import Watched

Get = Callable[[Record], Mapping[Any, float]]

_MOST_ROWS = 12
_LONGEST = 32
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24
_SILENT = 30.0


def watch(path: Path, console: Console, *, once: bool = False, every: float = 1.0) -> None:
    """Show a run until it ends; on what is no terminal, or with `once`, show it as it stands and return.

    Raises:
        ConfigError: `path` is not the folder of a run.
    """
    watched = Watched(path)
    if once or not console.is_terminal or not watched.running:
        console.print(view(watched))
        return
    with Live(view(watched), console=console, auto_refresh=False) as live:
        while watched.running:
            time.sleep(every)
            watched.read()
            live.update(view(watched), refresh=True)


def view(watched: Watched) -> RenderableType:
    """Return the run as it stands, to be printed."""
    tables = [_tasks(watched), *_pairs(watched)] if watched.recent else []
    return Group(_heading(watched), *tables, *_closing(watched))


def _heading(watched: Watched) -> Text:
    facts, step = watched.facts, watched.step
    total = facts.get("total_steps")
    words = [
        f"{facts.get('name')}, {facts.get('strategy')}, seed {facts.get('seed')}: {facts.get('status')}",
        f"step {step:,}" + (f" of {total:,}" if isinstance(total, int) else ""),
    ]
    if watched.recent and watched.recent[-1].epoch is not None:
        words.append(f"epoch {watched.recent[-1].epoch + 1}")
    if watched.seconds is not None:
        words.append(f"{1000.0 * watched.seconds:.3g} ms a step")
    if watched.to_go is not None:
        words.append(f"{duration(watched.to_go)} to go")
    if watched.running and watched.silent > _SILENT:
        words.append(f"no new record for {duration(watched.silent)}")
    return Text(shown("   ".join(words)), style="bold")


def _tasks(watched: Watched) -> Table:
    losses, weights = _means(watched, lambda record: record.losses), _latest(watched, lambda record: record.weights)
    norms = _latest(watched, lambda record: record.norms)
    hurt = _means(watched, lambda record: {task: float(figure < 0.0) for task, figure in record.descent.items()})
    rows = [
        (
            _name(task),
            _figure(loss),
            sparkline(watched.timeline.curves.curve(("loss", task))),
            _figure(weights.get(task)),
            _figure(norms.get(task)),
            percent(hurt[task]) if task in hurt else "-",
        )
        for task, loss in losses.items()
    ]
    return _table(("task", "loss", "over the run", "weight", "gradient norm", "hurt"), rows)


def _pairs(watched: Watched) -> Iterator[Table]:
    """The pairs of tasks, those that agree least first; nothing before any cosine was measured."""
    cosines = _means(watched, lambda record: record.cosines)
    below = _means(watched, lambda record: {pair: float(cosine < 0.0) for pair, cosine in record.cosines.items()})
    rows = [
        (
            _name(" and ".join(pair)),
            two_digits(cosine),
            sparkline(watched.timeline.curves.curve(("cosine", pair)), (-1.0, 1.0)),
            percent(below[pair]),
        )
        for pair, cosine in sorted(cosines.items(), key=lambda item: item[1])
    ]
    if rows:
        yield _table(("pair", "cosine", "over the run", "in conflict"), rows)


def _closing(watched: Watched) -> Iterator[Text]:
    """Validation, skipped steps, and what the figures are means of."""
    if not watched.recent:
        yield Text("no record yet")
        return
    metrics = watched.validation.get("metrics")
    if isinstance(metrics, dict):
        figures = [f"{name.removeprefix('tasks.')} {_figure(metrics[name])}" for name in metrics if "loss" not in name]
        yield Text(shown(f"validation after step {watched.validation.get('step')}: {', '.join(figures[:_MOST_ROWS])}"))
    if watched.skipped:
        reason = next((record.skipped for record in reversed(watched.recent) if record.skipped), None)
        told = f", the last because: {reason}" if reason else ""
        yield Text(shown(f"{watched.skipped} step{'s' if watched.skipped > 1 else ''} skipped{told}"))
    yield Text(f"loss, cosine and shares: of the last {len(watched.recent)} records", style="dim")


def sparkline(curve: Curve, limits: tuple[float, float] | None = None) -> str:
    """Return a curve as a line of 24 bars at most, from the lowest figure, or limit, to the highest."""
    while len(curve.buckets) > _WIDTH:
        curve = curve.coarsened(2 * curve.length)
    if not len(curve.means):
        return ""
    low, high = limits or (curve.means.min(), curve.means.max())
    heights = (curve.means - low) / ((high - low) or 1.0) * (len(_BARS) - 1)
    return "".join(_BARS[height] for height in np.clip(np.rint(heights), 0, len(_BARS) - 1).astype(int))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in rows[:_MOST_ROWS]:
        table.add_row(*map(Text, row))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return table


def _means(watched: Watched, get: Get) -> dict[Any, float]:
    """Means over the recent records that have a finite figure."""
    found: dict[Any, list[float]] = {}
    for record in watched.recent:
        for name, figure in get(record).items():
            if isfinite(figure):
                found.setdefault(name, []).append(figure)
    return {name: fmean(figures) for name, figures in found.items()}


def _latest(watched: Watched, get: Get) -> dict[Any, float]:
    """The latest figures among the recent records."""
    return {name: figure for record in watched.recent for name, figure in get(record).items()}


def _name(name: str) -> str:
    return shown(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}...")


def _figure(figure: Any) -> str:
    return f"{figure:.4g}" if isinstance(figure, int | float) else "-"
