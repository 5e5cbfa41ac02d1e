"""What every tracker can do, and what it is told of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run, for a tracker to open.

    id: the run's id, the same when it is resumed. name: for people. experiment: what it is one run of.
    folder: the run's own. step: optimiser steps that were taken before, 0 in a new run.
    config: the resolved configuration, nested.
    """

    id: str
    name: str
    experiment: str
    folder: Path
    step: int
    config: Mapping[str, Any]


class Tracker(Protocol):
    """Shows figures elsewhere; built with what it needs, and closed once."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in figures by name, at an optimiser step."""

    def close(self, *, failed: bool) -> None:
        """Deliver what is still held back; `failed` says that the run ended with an error."""
