"""Commands that make or take up a run, or measure its model."""

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coral_mtl.cli.outcome import Exit, told
from coral_mtl.cli.records import diagnose

if TYPE_CHECKING:
    from coral_mtl.running.run import Run


class Checkpoint(StrEnum):
    """Checkpoints that a run leaves."""

    BEST = "best"
    LAST = "last"


class Split(StrEnum):
    """Parts of a data set."""

    VALIDATION = "validation"
    TRAIN = "train"


def train(
    config: Annotated[Path, typer.Argument(help="YAML file, see CONFIGS_README.md.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as trainer.epochs=3 or seed=1.")
    ] = None,
) -> None:
    """Train what CONFIG says, in a new run folder."""
    with told(Exit.USAGE):
        from coral_mtl.config import load_config
        from coral_mtl.experiment import build_experiment
        from coral_mtl.running.run import Run

        experiment = build_experiment(load_config(config, overrides or ()))
        run = Run.create(experiment, command=sys.argv)
    _train(run)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run that was interrupted or killed, or of any with --fork.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="With --fork: what is to change.")
    ] = None,
    *,
    as_fork: Annotated[
        bool, typer.Option("--fork", help="Go on as a new run, with another schedule, learning rate or length.")
    ] = False,
) -> None:
    """Go on with RUN from its last checkpoint, as if it had never stopped; or, changed, as another run."""
    with told(Exit.USAGE):
        from coral_mtl.running.forking import fork, refuse_changes
        from coral_mtl.running.run import Run

        if not as_fork:
            refuse_changes(run, overrides or ())
        reopened = fork(run, overrides or (), command=sys.argv) if as_fork else Run.reopen(run)
    for name, (then, now) in reopened.changes().items():
        typer.echo(f"{name} was {then} and is {now}: figures may differ in their last digits", err=True)
    _train(reopened)


def _train(run: "Run") -> None:
    from rich.console import Console

    from coral_mtl.engine.trainer import Outcome
    from coral_mtl.running.interrupts import stop_requests
    from coral_mtl.running.progress import progress_on

    def tell_of_stop() -> None:  # writes as a signal handler may: past the buffers that it could have interrupted
        os.write(2, b"\nstopping after this step; once more kills the run, which can be resumed all the same\n")

    with told(Exit.FAILED), progress_on(Console(), run.experiment) as shown, stop_requests(tell_of_stop) as stop:
        outcome = run.train(shown, stop)
    if outcome is Outcome.INTERRUPTED:
        again = shlex.join(["coral-mtl", "resume", str(run.folder.path)])
        typer.echo(f"interrupted; go on with:\n    {again}", err=True)
        raise typer.Exit(Exit.INTERRUPTED)
    diagnose(run.folder.path)
    typer.echo(f"\n{outcome}: {run.folder.path}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    *,
    checkpoint: Annotated[Checkpoint, typer.Option(help="Of the best validation, or the last one.")] = Checkpoint.BEST,
    split: Annotated[Split, typer.Option(help="What to evaluate on.")] = Split.VALIDATION,
    window: Annotated[int | None, typer.Option(min=1, help="Side of a sliding window, in pixels.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="From one window to the next; default half of one.")] = None,
    window_batch: Annotated[int | None, typer.Option(min=1, help="Windows predicted at once; default 4.")] = None,
    whole_image: Annotated[
        bool, typer.Option("--whole-image", help="Predict whole images; default: as the run's validations.")
    ] = False,
    overlays: Annotated[int | None, typer.Option(min=0, help="Images to draw at most; default 8.")] = None,
    surface: Annotated[
        bool, typer.Option("--surface-metrics", help="Also ASSD, HD95, PQ, ARI and VI of every image.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for these; default: by the cores.")] = None,
    device: Annotated[str | None, typer.Option(help="As trainer.device; default: the run's own.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder; default: evaluation in the run's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure RUN's model on a whole split: all figures, confusion matrices of every image, pictures to look at."""
    from coral_mtl.diagnostics.strict import dumps
    from coral_mtl.evaluation.evaluate import evaluate as evaluated
    from coral_mtl.evaluation.evaluate import inference_of
    from coral_mtl.evaluation.text import summary

    with told(Exit.USAGE):
        found = evaluated(
            run,
            checkpoint=checkpoint.value,
            split=split.value,
            inference=inference_of(whole_image, window=window, stride=stride, batch_size=window_batch),
            overlays=overlays,
            surface=surface,
            workers=workers,
            device=device,
            output=output,
            tell=_count,
        )
    typer.echo(dumps(found.report, indent=2) if as_json else f"{summary(found.report)}\n\n{found.folder}")


def _count(done: int, of: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {of}", nl=done == of, err=True)
