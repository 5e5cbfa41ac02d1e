"""The figures of a report as PDF files for papers, drawn by matplotlib."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from coral_mtl.errors import MissingExtraError
from coral_mtl.report.charts import Chart
from coral_mtl.report.groups import Group
from coral_mtl.report.pictures import Matrix, matrix
from coral_mtl.report.sections import sections
from coral_mtl.report.wording import name

_STYLE: Any = {  # its own stubs know the keys, where matplotlib is installed
    "pdf.fonttype": 42,  # letters stay letters, which journals ask for
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "legend.frameon": False,
}
_SIZE = (3.5, 2.4)  # inches: one column of two
_DASHES = ("-", "-", "-", "-", "--", "--", ":", ":")


def write_figures(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Draw every line chart and cosine table of a report into `folder`, one file each, and return the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as problem:
        raise MissingExtraError("--figures", "matplotlib", "plots") from problem
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with matplotlib.rc_context(_STYLE):
        for chart in sections(groups).all():
            written.append(_saved(Figure(figsize=_SIZE, layout="constrained"), chart, folder / f"{chart.key}.pdf"))
        for place, group in enumerate(groups):
            table = matrix(group, place)
            if table is not None:
                figure = Figure(figsize=(_SIZE[1], _SIZE[1]), layout="constrained")
                written.append(_saved(figure, table, folder / f"cosines-{place}.pdf"))
    return written


def _saved(figure: Any, content: Chart | Matrix, path: Path) -> Path:
    axes = figure.add_subplot()
    if isinstance(content, Chart):
        _draw_chart(axes, content)
    else:
        _draw_matrix(axes, content)
    figure.savefig(path, metadata={"CreationDate": None})
    return path


def _draw_chart(axes: Any, chart: Chart) -> None:
    colours = _palette("t" if chart.family == "task" else "s")
    handles = []
    for line in chart.lines:
        curve, style = line.curve, line.colour % len(_DASHES)
        steps = curve.buckets * curve.length + (curve.length - 1) / 2
        handles += axes.plot(steps, curve.means, _DASHES[style], color=colours[style], linewidth=1.0)
        if (curve.highs > curve.lows).any():
            axes.fill_between(steps, curve.lows, curve.highs, color=colours[style], alpha=0.15, linewidth=0)
    for step in chart.marks:
        axes.axvline(step, color="0.5", linewidth=0.6, linestyle=(0, (2, 2)))
    if chart.logarithmic:
        axes.set_yscale("log")
    if chart.limits:
        axes.set_ylim(chart.limits)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(name(chart.unit), parse_math=False)
    axes.set_title(name(chart.title), parse_math=False)
    # A leading space, since matplotlib leaves labels that begin with "_" out of legends.
    legend = axes.legend(handles, [f" {name(line.name, 32)}" for line in chart.lines], fontsize=6.5)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_matrix(axes: Any, table: Matrix) -> None:
    axes.grid(False)
    axes.set_title(name(table.label), parse_math=False)
    colours = _palette("m")
    for row, task in enumerate(table.rows):
        for column, cell in enumerate(task["cells"]):
            if cell is not None:
                pale = 2 <= cell["shade"] <= len(colours) - 3
                axes.fill(
                    [column, column + 1, column + 1, column], [row, row, row + 1, row + 1], colours[cell["shade"]]
                )
                axes.text(column + 0.5, row + 0.5, cell["text"], ha="center", va="center", color="k" if pale else "w")
    axes.set_xlim(0, len(table.tasks))
    axes.set_ylim(len(table.rows), 0)
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([place + 0.5 for place in range(len(table.tasks))])
    axes.set_xticklabels([name(task, 16) for task in table.tasks], rotation=45, ha="right", parse_math=False)
    axes.set_yticks([place + 0.5 for place in range(len(table.rows))])
    axes.set_yticklabels([name(row["task"], 16) for row in table.rows], parse_math=False)


def _palette(letter: str) -> list[str]:
    """The page's colours in its light theme: s for strategies, t for tasks, m for cosines from 1 to -1."""
    text = files("coral_mtl.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    light = text[: text.index("}")]
    return re.findall(rf"--{letter}\d: (#[0-9a-f]{{6}});", light)
