"""The records of a file that is still being written."""

import os
from pathlib import Path

from coral_mtl.diagnostics.lines import read_object
from coral_mtl.diagnostics.reader import Record, to_record
from coral_mtl.diagnostics.runs import Runs

_MOST_BYTES = 1 << 23


class Follower:
    """Reads what was appended to a diagnostics file since it was read last."""

    def __init__(self, path: Path) -> None:
        """Start at the beginning of `path`, which need not be there yet; of more than 8 MB, only the end is read."""
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._position = self._line = 0
        self._runs = Runs(path)

    def new(self) -> tuple[bool, list[Record]]:
        """Return the records since the last call; first, whether the file was begun anew, as by a run that is resumed.

        A line that is not finished yet is left for the next call; what is no record is passed over.
        """
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                anew = self._identity not in (None, (stat.st_dev, stat.st_ino)) or stat.st_size < self._position
                if anew:
                    self._position = self._line = 0
                    self._runs = Runs(self._path)
                self._identity = stat.st_dev, stat.st_ino
                if stat.st_size - self._position > _MOST_BYTES:
                    self._position = file.seek(stat.st_size - _MOST_BYTES)
                    self._position += len(file.readline())
                file.seek(self._position)
                lines = file.read(_MOST_BYTES).splitlines(keepends=True)
        except OSError:
            return False, []  # not there yet, or for a moment
        return anew, [record for line in lines if (record := self._record(line)) is not None]

    def _record(self, line: bytes) -> Record | None:
        if not line.endswith(b"\n"):
            return None
        self._position += len(line)
        self._line += 1
        found = read_object(line, self._line, _nothing)
        return None if found is None else to_record(found, self._line, self._runs, _nothing)


def _nothing(line: int, what: str) -> None:
    """`diagnose` tells what is odd about a file."""
