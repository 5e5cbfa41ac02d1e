"""The command line: parses, calls, prints; torch is imported by the commands that need it, when they run.

Exit codes: 0 done, 1 the run failed, 2 bad configuration or usage, 130 interrupted with a checkpoint written.
"""

import os
from importlib.metadata import version
from typing import Annotated

import typer

from coral_mtl.cli.comparisons import bench, compare, study
from coral_mtl.cli.listings import list_strategies, schema, show_strategy, validate
from coral_mtl.cli.records import diagnose, report, watch
from coral_mtl.cli.runs import evaluate, resume, train

app = typer.Typer(
    help="Multi-task training from YAML: gradient strategies, diagnostics, exact resume.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (train, resume, validate, evaluate, diagnose, report, watch, compare, study, bench, schema):
    app.command()(command)

strategies = typer.Typer(help="The strategies that balance tasks.", no_args_is_help=True)
strategies.command("list")(list_strategies)
strategies.command("show")(show_strategy)
app.add_typer(strategies, name="strategies")


@app.callback(invoke_without_command=True)
def _version(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"coral-mtl {version('coral-mtl')}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # torch's idle threads spin otherwise, and take other runs' cores
    app()
