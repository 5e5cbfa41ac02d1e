"""Folders that are whole or absent."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coral_mtl.atomic import refused_places
from coral_mtl.errors import ConfigError

REPORT = "report.json"


@contextmanager
def evaluation_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends; where the block fails, `path` stays as it was.

    An evaluation that `path` holds already is replaced: it is renamed out of the way and then deleted, so that `path`
    never holds a part of either.

    Raises:
        ConfigError: `path` holds something that is no evaluation, or cannot be written.
    """
    if path.exists() and not (path / REPORT).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(
            f"{path}: this holds files, and no {REPORT} of an evaluation that could be replaced\n"
            "    choose another folder with --output"
        )
    partial, replaced = (path.with_name(f".{path.name}.{state}") for state in ("partial", "replaced"))
    for left in (partial, replaced):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with refused_places(path, "choose another folder with --output"):
        partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
    finally:
        for left in (partial, replaced):
            shutil.rmtree(left, ignore_errors=True)
