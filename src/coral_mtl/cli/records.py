"""Commands that look at what runs left behind, or leave behind right now."""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coral_mtl.cli.outcome import Exit, told


class Figures(StrEnum):
    """Kinds of files that figures can be drawn to."""

    PDF = "pdf"


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="Run folder, or any loss_diagnostics.jsonl.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a run.")] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Judge by another threshold; see docs/diagnostics.md. Repeatable."),
    ] = None,
) -> None:
    """Say what the records of a run show: imbalance, conflict, failed solves, and what to do about them."""
    from coral_mtl.diagnostics.diagnosis import diagnose as diagnosed
    from coral_mtl.diagnostics.diagnosis import to_json
    from coral_mtl.diagnostics.text import render
    from coral_mtl.diagnostics.thresholds import DEFAULT

    with told(Exit.USAGE):
        diagnoses = diagnosed(run, DEFAULT.overridden(threshold or ()))
    typer.echo(to_json(diagnoses) if as_json else "\n".join(map(render, diagnoses)))


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or diagnostics files.")],
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write; default: report.html in the run's folder, or of several in this one."),
    ] = None,
    figures: Annotated[Figures | None, typer.Option(help="Also draw the figures as files of this kind.")] = None,
) -> None:
    """Put runs into one HTML file that needs nothing else: curves, conflict, weights, cost, health, configuration."""
    from coral_mtl.report.report import write_report

    with told(Exit.USAGE):
        written = write_report(runs, output, figures=figures is not None)
    for problem in written.left_out:
        typer.echo(f"left out: {problem}", err=True)
    if written.figures:
        typer.echo(f"{len(written.figures)} figures: {written.figures[0].parent}")
    typer.echo(str(written.page))


def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a run that trains, or has trained.")],
    once: Annotated[bool, typer.Option("--once", help="Show it as it stands, and return.")] = False,
) -> None:
    """Show a run in the terminal while it trains: losses, weights, norms, conflict, time; Ctrl-C stops watching."""
    from rich.console import Console

    from coral_mtl.running.watch import watch as watched

    with told(Exit.USAGE), suppress(KeyboardInterrupt):
        watched(run, Console(), once=once)
