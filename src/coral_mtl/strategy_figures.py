"""What benchmarks/strategies.py measured of every strategy, as Markdown for docs/strategies.md."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

FIGURES = Path("benchmarks/results/strategies.json")
COMMAND = "python benchmarks/strategies.py --help"

_COLUMNS = ("score", "step", "reuse step", "hurts a task", "worst cosine", "solver")


def figures_row(root: Path, name: str) -> str:
    """Return the table of one strategy, or how to measure it."""
    figures = _measured(root)["strategies"].get(name)
    return _table(_COLUMNS, [_cells(figures)]) if figures else f"Not measured yet: see `{COMMAND}`."


def figures_table(root: Path) -> str:
    """Return the table of all strategies, and under what circumstances it was measured."""
    measured = _measured(root)
    if not measured["strategies"]:
        return f"No figures yet: see `{COMMAND}`."
    found = sorted(measured["strategies"].items(), key=lambda pair: -mean(pair[1].get("scores", {"": 0.0}).values()))
    rows = [[f"[{name}](#{name.lower()})", *_cells(figures)] for name, figures in found]
    table = _table(("strategy", *_COLUMNS), rows)
    settings, environment = measured["settings"], measured["environment"]
    return table + (
        f"\n\nMeasured until {measured['date']} with coral-mtl {environment['coral-mtl']}, torch "
        f"{environment['torch']}, one thread, on {environment['processor']}. The score: mean and standard deviation "
        f"over {len(settings['seeds'])} seeds after {settings['epochs']} epochs of the quickstart."
    )


def _measured(root: Path) -> Mapping[str, Any]:
    file = root / FIGURES
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"strategies": {}}


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    """The cells of one strategy; empty where nothing was measured, a dash where there is nothing to measure."""
    scores, steps, matrices = (figures.get(what) for what in ("scores", "steps", "matrices"))
    cells = ["", "", "", *(("", "", "") if "matrices" not in figures else ("-", "-", "-"))]
    if scores:
        values = list(scores.values())
        cells[0] = f"{mean(values):.3f} ± {stdev(values):.3f}"
    if steps:
        cells[1] = f"{steps['refresh'] / steps['plain']:.1f}"
        cells[2] = f"{steps['reuse'] / steps['plain']:.1f}" if "reuse" in steps else "-"
    if matrices:
        ends = ", ".join(f"{count} {status}" for status, count in sorted(matrices["ends"].items(), key=_by_count))
        cells[3:] = [f"{matrices['hurt']:.0%}", f"{round(matrices['worst_cosine'], 2) + 0.0:.2f}", ends or "-"]
    return cells


def _by_count(end: tuple[str, int]) -> int:
    return -end[1]
