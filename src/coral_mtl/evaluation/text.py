"""The figures of an evaluation as plain text for a terminal."""

from collections.abc import Mapping
from typing import Any


def summary(report: Mapping[str, Any]) -> str:
    """Return what was evaluated, and a table of its metrics: a row for each task and level, and one for all."""
    settings, run = report["settings"], report["run"]
    heading = (
        f"{run['name']}, {run['strategy']}, seed {run['seed']}: {settings['checkpoint']} checkpoint, step "
        f"{run['step']}, on {settings['images']} {settings['split']} items"
    )
    rows = _rows(report["metrics"])
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    first = max(map(len, rows))
    widths = [max(len(name), 6) for name in columns]
    lines = [" " * first + "".join(f"  {name:>{width}}" for name, width in zip(columns, widths, strict=True))]
    for title, row in rows.items():
        cells = (f"{row[name]:.4f}" if name in row else "" for name in columns)
        lines.append(
            f"{title:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        )
    return "\n".join([heading, "", *(line.rstrip() for line in lines)])


def _rows(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The metrics by the task and level that they are of, then by what they are: `tasks.genus.grouped.mIoU`.

    The loss of a segmentation, which is the NLL of its own classes, would be a row by itself, and is left out.
    """
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        owner, _, figure = name.rpartition(".")
        if figure == "loss" and f"{owner}.grouped.NLL" in metrics:
            continue
        rows.setdefault(owner.removeprefix("tasks.").replace(".", " "), {})[figure] = value
    return rows
