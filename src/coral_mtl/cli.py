"""The command line: parses, calls, prints; torch is imported by the commands that need it, when they run.

Exit codes: 0 done, 1 the run failed, 2 bad configuration or usage, 130 interrupted with a checkpoint written.
"""

import inspect
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum, StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from coral_mtl.errors import CheckpointError, CoralError, TrainingError

if TYPE_CHECKING:
    from rich.console import Console

    from coral_mtl.running.run import Run

app = typer.Typer(
    help="Multi-task training from YAML: gradient strategies, diagnostics, exact resume.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
strategies = typer.Typer(help="The strategies that balance tasks.", no_args_is_help=True)
app.add_typer(strategies, name="strategies")


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class Beside(StrEnum):
    """Runs that a comparison can have beside its strategies."""

    SINGLE_TASK = "single-task"


class Checkpoint(StrEnum):
    """Checkpoints that a run leaves."""

    BEST = "best"
    LAST = "last"


class Split(StrEnum):
    """Parts of a data set."""

    VALIDATION = "validation"
    TRAIN = "train"


class Figures(StrEnum):
    """Kinds of files that figures can be drawn to."""

    PDF = "pdf"


@contextmanager
def _told(code: Exit) -> Iterator[None]:
    """Within the block a CoralError is told without a traceback, and the command ends with `code`."""
    try:
        yield
    except CoralError as error:
        typer.echo(f"{error}", err=True)
        failed = isinstance(error, CheckpointError | TrainingError)
        raise typer.Exit(Exit.FAILED if failed else code) from None


@app.callback(invoke_without_command=True)
def _main(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"coral-mtl {version('coral-mtl')}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file, see CONFIGS_README.md.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as trainer.epochs=3 or seed=1.")
    ] = None,
) -> None:
    """Train what CONFIG says, in a new run folder."""
    with _told(Exit.USAGE):
        from coral_mtl.config import load_config
        from coral_mtl.experiment import build_experiment
        from coral_mtl.running.run import Run

        experiment = build_experiment(load_config(config, overrides or ()))
        run = Run.create(experiment, command=sys.argv)
    _train(run)


@app.command()
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
    with _told(Exit.USAGE):
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

    def told() -> None:  # writes as a signal handler may: past the buffers that it could have interrupted
        os.write(2, b"\nstopping after this step; once more kills the run, which can be resumed all the same\n")

    with _told(Exit.FAILED), progress_on(Console(), run.experiment) as shown, stop_requests(told) as stop:
        outcome = run.train(shown, stop)
    if outcome is Outcome.INTERRUPTED:
        again = shlex.join(["coral-mtl", "resume", str(run.folder.path)])
        typer.echo(f"interrupted; go on with:\n    {again}", err=True)
        raise typer.Exit(Exit.INTERRUPTED)
    diagnose(run.folder.path)
    typer.echo(f"\n{outcome}: {run.folder.path}")


@app.command()
def validate(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="YAML files.")],
) -> None:
    """Check configurations, all problems at once, without running anything."""
    from coral_mtl.config import load_config
    from coral_mtl.study.folder import check_variants

    wrong = False
    for config in configs:
        try:
            check_variants(load_config(config, study=True, compare=True))
            typer.echo(f"{config}: valid")
        except CoralError as error:
            wrong = True
            typer.echo(f"{error}", err=True)
    if wrong:
        raise typer.Exit(Exit.USAGE)


@app.command()
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

    with _told(Exit.USAGE):
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


@app.command()
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

    with _told(Exit.USAGE):
        diagnoses = diagnosed(run, DEFAULT.overridden(threshold or ()))
    typer.echo(to_json(diagnoses) if as_json else "\n".join(map(render, diagnoses)))


@app.command()
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

    with _told(Exit.USAGE):
        written = write_report(runs, output, figures=figures is not None)
    for problem in written.left_out:
        typer.echo(f"left out: {problem}", err=True)
    if written.figures:
        typer.echo(f"{len(written.figures)} figures: {written.figures[0].parent}")
    typer.echo(str(written.page))


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a run that trains, or has trained.")],
    once: Annotated[bool, typer.Option("--once", help="Show it as it stands, and return.")] = False,
) -> None:
    """Show a run in the terminal while it trains: losses, weights, norms, conflict, time; Ctrl-C stops watching."""
    from rich.console import Console

    from coral_mtl.running.watch import watch as watched

    with _told(Exit.USAGE), suppress(KeyboardInterrupt):
        watched(run, Console(), once=once)


@app.command()
def compare(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG [KEY=VALUE]...|RUN RUN...|COMPARISON",
            help="A configuration to run strategies on; finished runs; the folder of a comparison to go on with.",
        ),
    ],
    *,
    strategies: Annotated[
        list[str] | None,
        typer.Option(help="With commas between: NashMTL(update_frequency=10),Uncertainty+PCGrad; default: CONFIG's."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each strategy; default: 5.")] = None,
    include: Annotated[Beside | None, typer.Option(help="Also train each task alone.")] = None,
    static_grid: Annotated[bool | None, typer.Option("--static-grid", help="Also static weights, tuned.")] = None,
    tune: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE,...", help="Tune each strategy alike: lr=1e-3,3e-3.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="To compare by; default: trainer.model_selection_metric.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder; default: runs/<name>/<date>_comparison.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs side by side; default: by the cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare strategies, equal and random weighting among them, on equal terms; no clear winner is a result."""
    from dataclasses import asdict

    from coral_mtl.diagnostics.strict import dumps
    from coral_mtl.running.interrupts import stop_requests
    from coral_mtl.study.compare import Comparison
    from coral_mtl.study.request import Request
    from coral_mtl.study.table import comparison_table

    with _told(Exit.USAGE):
        request = Request(
            strategies=tuple(strategies or ()),
            seeds=seeds,
            include=include,
            static_grid=static_grid,
            tune=tuple(tune or ()),
            metric=metric,
            output=output,
            jobs=jobs,
        )
        begun = request.begin(targets)
    if isinstance(begun, Comparison):
        with _told(Exit.FAILED), stop_requests(_stopping) as stop:
            result = begun.run(jobs, tell=_tell, stop=stop) or _interrupted("compare", begun.folder)
        _tell(str(begun.folder))
    else:
        result = begun
    if as_json:
        typer.echo(dumps(asdict(result), indent=2))
    else:
        _console().print(comparison_table(result))


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _stopping() -> None:
    os.write(2, b"\nstopping: what runs writes its checkpoint; once more kills\n")


def _interrupted(command: str, folder: Path) -> NoReturn:
    typer.echo(f"interrupted; go on with:\n    {shlex.join(['coral-mtl', command, str(folder)])}", err=True)
    raise typer.Exit(Exit.INTERRUPTED)


def _console() -> "Console":
    """A console that is wide enough for tables where it is no terminal."""
    from rich.console import Console

    console = Console()
    console.width = console.width if console.is_terminal else 200
    return console


@app.command()
def study(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG [KEY=VALUE]...|STUDY", help="A file with a section study, or a study's folder."),
    ],
    output: Annotated[Path | None, typer.Option(help="Folder; default: runs/<name>/<date>_study.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Search through configurations, as the section study of CONFIG says; needs the extra `study` (Optuna)."""
    from dataclasses import asdict

    from coral_mtl.diagnostics.strict import dumps
    from coral_mtl.running.interrupts import stop_requests
    from coral_mtl.study.search import Search
    from coral_mtl.study.table import study_table

    with _told(Exit.USAGE):
        search = Search.begin(targets, output)
    with _told(Exit.FAILED), stop_requests(_stopping) as stop:
        found = search.run(tell=_tell, stop=stop) or _interrupted("study", search.folder)
    _tell(str(search.folder))
    if as_json:
        typer.echo(dumps(asdict(found), indent=2))
    else:
        _console().print(study_table(found))


@app.command()
def bench(
    config: Annotated[Path, typer.Argument(help="YAML file, see CONFIGS_README.md.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    *,
    strategies: Annotated[
        list[str] | None,
        typer.Option(help="With commas between: PCGrad,NashMTL(max_norm=1),Uncertainty+PCGrad; default: CONFIG's."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each kind in a turn; there are three turns.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure what strategies cost on CONFIG's model and data, in time and memory, beside plain training."""
    from dataclasses import asdict

    from coral_mtl.bench.costs import measure_costs
    from coral_mtl.bench.table import costs_table

    with _told(Exit.USAGE):
        costs = measure_costs(config, overrides or (), strategies or (), steps)
    if as_json:
        typer.echo(json.dumps(asdict(costs), indent=2))
    else:
        _console().print(costs_table(costs))


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations, for editors."""
    from coral_mtl.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@strategies.command("list")
def list_strategies() -> None:
    """List all strategies with kind and cost (T is the number of tasks)."""
    from coral_mtl.strategy_catalogue import strategy_rows

    rows = strategy_rows()
    width = max(len(row.name) for row in rows)
    for row in rows:
        typer.echo(f"{row.name.ljust(width)}  {row.kind}, {row.cost}\n{' ' * width}  {row.summary}")


@strategies.command("show")
def show_strategy(name: str) -> None:
    """Show one strategy: what it does, what it costs and promises, where it comes from, and its options."""
    from coral_mtl import registry
    from coral_mtl.config.json_schema import options_schema
    from coral_mtl.config.reference import key_rows
    from coral_mtl.strategy_catalogue import strategy_row

    with _told(Exit.USAGE):
        cls = registry.strategies.get(name)
    row = strategy_row(cls)
    promises = "depend on its options" if row.promises is None else "; ".join(row.promises) or "none"
    typer.echo(f"{row.name}: {inspect.getdoc(cls)}\n")
    for label, text in (("kind", row.kind), ("cost", row.cost), ("promises", promises), ("paper", row.paper)):
        typer.echo(f"{label + ':':<10}{text or 'none'}")
    typer.echo("options:" if row.options else "options:  none")
    for key, kind, default, bounds, meaning in key_rows(options_schema(cls)):
        given = default if default == "must be given" else f"default {default}"
        facts = "; ".join(part for part in (kind, bounds, given) if part)
        typer.echo(f"  {key.strip('`')}: {facts.replace('`', '')}\n      {meaning}")


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # torch's idle threads spin otherwise, and take other runs' cores
    app()
