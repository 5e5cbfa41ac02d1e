"""Commands that run nothing: checks of configurations, their schema, and the strategies."""

import inspect
import json
from pathlib import Path
from typing import Annotated

import typer

from coral_mtl.cli.outcome import Exit, told
from coral_mtl.errors import CoralError


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


def schema() -> None:
    """Print the JSON schema of configurations, for editors."""
    from coral_mtl.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def list_strategies() -> None:
    """List all strategies with kind and cost (T is the number of tasks)."""
    from coral_mtl.strategy_catalogue import strategy_rows

    rows = strategy_rows()
    width = max(len(row.name) for row in rows)
    for row in rows:
        typer.echo(f"{row.name.ljust(width)}  {row.kind}, {row.cost}\n{' ' * width}  {row.summary}")


def show_strategy(name: str) -> None:
    """Show one strategy: what it does, what it costs and promises, where it comes from, and its options."""
    from coral_mtl import registry
    from coral_mtl.config.json_schema import options_schema
    from coral_mtl.config.reference import key_rows
    from coral_mtl.strategy_catalogue import strategy_row

    with told(Exit.USAGE):
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
