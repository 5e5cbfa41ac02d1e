"""What a run's files tell of it while they are being written."""

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.follower import Follower
from coral_mtl.diagnostics.reader import Record
from coral_mtl.diagnostics.timeline import Timeline
from coral_mtl.running.folder import RunFolder
from coral_mtl.running.pace import Pace

RECENT = 50
_LONGEST = 1 << 16


class Watched:
    """A run, as far as it is known.

    facts: its run.json. timeline: of all records that were read. recent: the last 50 of them.
    skipped: how many steps were. validation: the last line of its metrics.jsonl, empty before the first.
    """

    def __init__(self, path: Path) -> None:
        """Open a run's folder, and read what there is.

        Raises:
            ConfigError: it is not the folder of a run.
        """
        self._path = path
        self._follower = Follower(RunFolder.open(path).diagnostics)
        self._begin()
        self.read()

    def _begin(self) -> None:
        self.timeline = Timeline()
        self.recent: deque[Record] = deque(maxlen=RECENT)
        self.skipped = 0
        self._pace = Pace()
        self._changed = time.monotonic()

    def read(self) -> None:
        """Take in what the run has written since the last call."""
        anew, records = self._follower.new()
        if anew:
            self._begin()
        for record in records:
            self.timeline.add(record)
            self.recent.append(record)
            self.skipped += record.skipped is not None
        if records:
            self._pace.note(records[-1].step)
            self._changed = time.monotonic()
        folder = RunFolder.open(self._path)
        self.facts: Mapping[str, Any] = folder.facts
        self.validation = _last_line(folder.metrics)

    @property
    def running(self) -> bool:
        """Whether the run says that it is still going on."""
        return self.facts.get("status") == "running"

    @property
    def silent(self) -> float:
        """Seconds since a record was last seen to come."""
        return time.monotonic() - self._changed

    @property
    def step(self) -> int:
        """The last step, 0 before the first."""
        return self.recent[-1].step if self.recent else 0

    @property
    def seconds(self) -> float | None:
        """Seconds a step: of late, on average where that is not known yet, None where nothing is known."""
        usage = self.facts.get("usage") or {}
        if not self.running and usage.get("steps"):
            return usage["seconds"] / usage["steps"]
        if self._pace.seconds is not None or not self.running or not self.step or usage:
            return self._pace.seconds
        return (datetime.now(UTC) - datetime.fromisoformat(self.facts["started"])).total_seconds() / self.step

    @property
    def to_go(self) -> float | None:
        """Seconds that the rest of a running run takes at this pace."""
        total = self.facts.get("total_steps")
        if not self.running or self.seconds is None or not isinstance(total, int):
            return None
        return max(total - self.step, 0) * self.seconds


def _last_line(path: Path) -> Mapping[str, Any]:
    """The object on the last whole line of a file, empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LONGEST, 0))
            found = json.loads(file.read().rpartition(b"\n")[0].rpartition(b"\n")[2])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
