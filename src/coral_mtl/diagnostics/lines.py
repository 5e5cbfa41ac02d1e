"""A file's lines as JSON objects, one at a time, whatever the file turns out to be."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from coral_mtl.errors import DataError

Remark = Callable[[int, str], None]
"""Told the number of a line and what is odd about it."""

NAME = "loss_diagnostics.jsonl"
_LONGEST = 1 << 24


def find_file(path: Path) -> Path:
    """Return the diagnostics file that `path` is, or that the run folder `path` holds.

    Raises:
        DataError: there is none.
    """
    if path.is_dir():
        within = [path / NAME, path / "validation" / NAME]
        found = next((file for file in within if file.is_file()), None)
        if found is None:
            raise DataError(f"{path}: this folder holds no {NAME}\n    pass a run folder, or the file itself")
        return found
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder\n    pass a run folder, or its {NAME}")
    return path


def read_objects(path: Path, remark: Remark) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every line of the file that is a JSON object; tell `remark` about the others.

    `NaN` and `Infinity`, which strict JSON has not, are read as such and told. No more than one line is held in memory.

    Raises:
        DataError: the file cannot be opened, or is not text.
    """
    try:
        with path.open("rb") as file:
            _refuse_binary(file, path)
            for number, line in enumerate(_lines(file), 1):
                found = read_object(line, number, remark)
                if found is not None:
                    yield number, found
    except OSError as problem:
        raise DataError(
            f"{path}: cannot be read: {problem.strerror}\n    check its permissions and its disk"
        ) from problem


def as_figure(value: Any) -> float | None:
    """Return a JSON number, infinite where it is too large for a float; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _refuse_binary(file: IO[bytes], path: Path) -> None:
    if b"\0" in file.read(4096):
        raise DataError(f"{path}: this is a binary file, not lines of JSON\n    pass a run folder, or its {NAME}")
    file.seek(0)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines with their line ends; of a line that is too long, its beginning without the end."""
    while line := file.readline(_LONGEST):
        yield line
        while len(line) == _LONGEST and not line.endswith(b"\n"):
            line = file.readline(_LONGEST)


def read_object(line: bytes, number: int, remark: Remark) -> dict[str, Any] | None:
    """Return the JSON object on a line; None, and a word to `remark`, where there is none."""
    loose: list[str] = []

    def constant(token: str) -> float:
        loose.append(token)
        return float(token)

    if not line.strip():
        return None
    try:
        found = json.loads(line.decode("utf-8-sig"), parse_constant=constant)
    except (ValueError, RecursionError):
        remark(number, _unreadable(line))
        return None
    if loose:
        remark(number, "a bare NaN or Infinity, which is not strict JSON: read as not finite")
    if not isinstance(found, dict):
        remark(number, "JSON, but not an object: skipped")
        return None
    return found


def _unreadable(line: bytes) -> str:
    if len(line) == _LONGEST:
        return f"a line longer than {_LONGEST >> 20} MiB: skipped"
    if not line.endswith(b"\n"):
        return "a torn last line: skipped"
    return "not JSON: skipped"
