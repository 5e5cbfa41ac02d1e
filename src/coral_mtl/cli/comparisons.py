"""Commands that make several runs, or measure what strategies cost."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coral_mtl.cli.outcome import Exit, console, interrupted, stopping, tell, told


class Beside(StrEnum):
    """Runs that a comparison can have beside its strategies."""

    SINGLE_TASK = "single-task"


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
    without: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="Go on with COMPARISON without this strategy or variant.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare strategies, equal and random weighting among them, on equal terms; no clear winner is a result."""
    from dataclasses import asdict

    from coral_mtl.diagnostics.strict import dumps
    from coral_mtl.running.interrupts import stop_requests
    from coral_mtl.study.compare import Comparison
    from coral_mtl.study.request import Request
    from coral_mtl.study.table import comparison_table

    with told(Exit.USAGE):
        request = Request(
            strategies=tuple(strategies or ()),
            seeds=seeds,
            include=include,
            static_grid=static_grid,
            tune=tuple(tune or ()),
            metric=metric,
            output=output,
            jobs=jobs,
            without=tuple(without or ()),
        )
        begun = request.begin(targets, ["coral-mtl", *sys.argv[1:]])
    if isinstance(begun, Comparison):
        with told(Exit.FAILED), stop_requests(stopping) as stop:
            result = begun.run(jobs, tell=tell, stop=stop) or interrupted("compare", begun.folder)
        tell(str(begun.folder))
    else:
        result = begun
    if as_json:
        typer.echo(dumps(asdict(result), indent=2))
    else:
        console().print(comparison_table(result))


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

    with told(Exit.USAGE):
        search = Search.begin(targets, output)
    with told(Exit.FAILED), stop_requests(stopping) as stop:
        found = search.run(tell=tell, stop=stop) or interrupted("study", search.folder)
    tell(str(search.folder))
    if as_json:
        typer.echo(dumps(asdict(found), indent=2))
    else:
        console().print(study_table(found))


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

    with told(Exit.USAGE):
        costs = measure_costs(config, overrides or (), strategies or (), steps)
    if as_json:
        typer.echo(json.dumps(asdict(costs), indent=2))
    else:
        console().print(costs_table(costs))
