"""How commands end, and what they say on the way: exit codes, errors without tracebacks, lines beside the output."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from coral_mtl.errors import CheckpointError, CoralError, TrainingError

if TYPE_CHECKING:
    from rich.console import Console


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


@contextmanager
def told(code: Exit) -> Iterator[None]:
    """Within the block a CoralError is told without a traceback, and the command ends with `code`."""
    try:
        yield
    except CoralError as error:
        typer.echo(f"{error}", err=True)
        failed = isinstance(error, CheckpointError | TrainingError)
        raise typer.Exit(Exit.FAILED if failed else code) from None


def tell(line: str) -> None:
    typer.echo(line, err=True)


def stopping() -> None:
    os.write(2, b"\nstopping: what runs writes its checkpoint; once more kills\n")


def interrupted(command: str, folder: Path) -> NoReturn:
    typer.echo(f"interrupted; go on with:\n    {shlex.join(['coral-mtl', command, str(folder)])}", err=True)
    raise typer.Exit(Exit.INTERRUPTED)


def console() -> "Console":
    """A console that is wide enough for tables where it is no terminal."""
    from rich.console import Console

    console = Console()
    console.width = console.width if console.is_terminal else 200
    return console
