"""From paths to a report on the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coral_mtl.atomic import atomic_writing, refused_places
from coral_mtl.report.figures import write_figures
from coral_mtl.report.groups import grouped
from coral_mtl.report.page import render
from coral_mtl.report.runs import read_runs

NAME = "report.html"


@dataclass(frozen=True, slots=True)
class Written:
    """What a report wrote, and what it had to leave out."""

    page: Path
    figures: tuple[Path, ...]
    left_out: tuple[str, ...]


def write_report(paths: Sequence[Path], output: Path | None = None, *, figures: bool = False) -> Written:
    """Write a report on runs.

    Args:
        paths: run folders and diagnostics files.
        output: the page; None puts `report.html` into the run folder, or of several runs into the current one.
        figures: also draw its figures as PDF files, in a folder beside the page.

    Raises:
        ConfigError: the page cannot be written there.
        DataError: nothing could be read.
        MissingExtraError: figures were asked for and matplotlib is not installed.
    """
    material = read_runs(paths)
    page = output or _default(paths)
    with refused_places(page, "choose another file with --output"):
        drawn = write_figures(grouped(material.runs), page.with_name(f"{page.stem}_figures")) if figures else []
        page.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writing(page) as file:
            file.write(render(material).encode())
    return Written(page, tuple(drawn), material.left_out)


def _default(paths: Sequence[Path]) -> Path:
    return paths[0] / NAME if len(paths) == 1 and paths[0].is_dir() else Path(NAME)
