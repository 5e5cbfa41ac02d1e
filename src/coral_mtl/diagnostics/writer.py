"""The file `loss_diagnostics.jsonl` of a run: records are appended, and a resumed run goes on without a seam."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from coral_mtl.atomic import atomic_writing
from coral_mtl.diagnostics.strict import dumps
from coral_mtl.errors import DataError

_CHUNK = 1 << 20


class RecordWriter:
    """Appends records to one run's file, buffered; use it as a context manager, or call `close`."""

    def __init__(self, path: Path, run: str) -> None:
        """Take `path`, whether it is there yet or not, for the run with the id `run`.

        Raises:
            DataError: the file holds records of another run, or what no run wrote.
        """
        self.path = path
        self.run = run
        self._file: IO[bytes] | None = None
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                line = file.readline()
                if line.endswith(b"\n"):
                    self._own_record(line, 1)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; it reaches the disk with the next `flush` at the latest.

        Raises:
            DataError: the file ends in half a line, which a crash left and `truncate_after` removes.
        """
        if self._file is None:
            self._file = self._opened()
        self._file.write(dumps(record).encode() + b"\n")

    def flush(self) -> None:
        """Put all records so far on the disk; done before a checkpoint, so that it never knows more than the file."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def truncate_after(self, step: int) -> int:
        """Drop what a run did after the checkpoint of optimiser step `step`, and a torn last line.

        The file is replaced in one stroke. Returns the number of lines that were dropped.

        Raises:
            DataError: a line before the last is damaged, or of another run.
        """
        self.close()
        if not self.path.is_file():
            return 0
        kept_bytes, dropped = self._cut(step)
        if dropped:
            with self.path.open("rb") as old, atomic_writing(self.path) as new:
                while kept_bytes:
                    kept_bytes -= new.write(old.read(min(kept_bytes, _CHUNK)))
        return dropped

    def close(self) -> None:
        """Flush and close; a later `append` opens the file again."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _opened(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab+")
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.close()
                raise DataError(
                    f"{self.path}: the last line is torn: the run that wrote it was stopped in the middle of a record\n"
                    "    resume the run, or call truncate_after(step) before appending"
                )
        return file

    def _cut(self, step: int) -> tuple[int, int]:
        """Return how many bytes to keep and how many lines to drop."""
        kept_bytes = dropped = damaged = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if dropped:
                    dropped += 1
                elif damaged:
                    raise self._damaged(damaged)
                elif _parsed(line) is None or not line.endswith(b"\n"):
                    damaged = number
                elif self._own_record(line, number)["step"] > step:
                    dropped = 1
                else:
                    kept_bytes += len(line)
        return kept_bytes, dropped or bool(damaged)

    def _own_record(self, line: bytes, number: int) -> dict[str, Any]:
        record = _parsed(line)
        if record is None:
            raise self._damaged(number)
        if record["run"] != self.run:
            raise DataError(
                f"{self.path}:{number}: this file belongs to the run {record['run']!r}, not to {self.run!r}\n"
                "    choose another run folder; a file holds one run"
            )
        return record

    def _damaged(self, number: int) -> DataError:
        return DataError(
            f"{self.path}:{number}: this line is no record of a run, so this file cannot be continued\n"
            "    remove the line, or choose another run folder"
        )


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the record on a line that RecordWriter wrote, None for any other line."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and "run" in record and isinstance(record.get("step"), int)
    return record if known else None
