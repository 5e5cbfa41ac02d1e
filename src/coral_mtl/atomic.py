"""Files that are whole or absent: written beside their place, flushed to the disk, and renamed into it.

And a place where nothing can be written, in words.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from coral_mtl.errors import ConfigError


@contextmanager
def atomic_writing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that becomes `path` when the block ends; where the block fails, `path` stays as it was.

    After a crash at any point `path` holds the old contents or the new ones, never a part. One process writes a file
    at a time: the name of the temporary file is fixed, so that crashes leave no litter behind.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


@contextmanager
def refused_places(place: Path, advice: str) -> Iterator[None]:
    """Tell an OSError within the block as a ConfigError: that `place` cannot be written, why, and what to do."""
    try:
        yield
    except OSError as problem:
        raise ConfigError(f"{place}: cannot be written: {problem.strerror or problem}\n    {advice}") from problem


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut; Windows does not open folders for this."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
