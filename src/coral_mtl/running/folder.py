"""The folder of one run: what was asked for, what ran where, and everything that came of it."""

import json
import os
import platform
import shlex
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from coral_mtl.atomic import atomic_writing, refused_places
from coral_mtl.errors import ConfigError

if sys.platform != "win32":
    import fcntl

RUN = "run.json"
CONFIG = "config.yaml"
DIAGNOSTICS = "loss_diagnostics.jsonl"
METRICS = "metrics.jsonl"
LOG = "log.txt"
CHECKPOINTS = "checkpoints"
CONTENTS = (RUN, CONFIG, DIAGNOSTICS, METRICS, LOG, CHECKPOINTS)


class RunFolder:
    """One run's folder, and `run.json` in it: id, configuration's name, versions, commit, host, command, status."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.config = path / CONFIG
        self.diagnostics = path / DIAGNOSTICS
        self.metrics = path / METRICS
        self.log = path / LOG
        self.checkpoints = path / CHECKPOINTS
        self._facts = facts

    @classmethod
    def create(cls, path: Path, config: str, facts: dict[str, Any], command: Sequence[str]) -> Self:
        """Make the folder of a new run with its resolved configuration.

        Raises:
            ConfigError: the folder already holds a run, or files that this one would overwrite, or cannot be written.
        """
        taken = [name for name in CONTENTS if (path / name).exists()]
        if taken:
            raise ConfigError(
                f"{path}: this folder already holds a run ({', '.join(taken)})\n"
                "    choose another one with trainer.output_dir=FOLDER, or go on with: coral-mtl resume FOLDER",
                option="output_dir",
            )
        about = {"id": uuid.uuid4().hex, **facts, "host": platform.node(), "command": shlex.join(command)}
        folder = cls(path, {**about, "started": _now()})
        with refused_places(path, "choose another folder with trainer.output_dir=FOLDER"):
            path.mkdir(parents=True, exist_ok=True)
            with atomic_writing(folder.config) as file:
                file.write(config.encode())
            folder.record("running")
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of a run that was started before.

        Raises:
            ConfigError: it is not a run's folder.
        """
        try:
            facts = json.loads((path / RUN).read_text())
            facts["id"], (path / CONFIG).read_bytes()
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise ConfigError(
                f"{path}: this is not the folder of a run: {problem}\n"
                f"    name the folder that holds {RUN}, {CONFIG} and {CHECKPOINTS}/"
            ) from problem
        return cls(path, facts)

    @property
    def id(self) -> str:
        """The run's id, which all its files carry."""
        return self._facts["id"]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `run.json` says."""
        return self._facts

    def record(self, status: str, **facts: Any) -> None:
        """Write `run.json` with this status (running, finished, stopped early, interrupted or failed) and facts."""
        self._facts.pop("failure", None)
        self._facts |= {"status": status, "updated": _now(), "process": os.getpid(), **facts}
        with atomic_writing(self.path / RUN) as file:
            file.write(json.dumps(self._facts, indent=2).encode() + b"\n")

    @contextmanager
    def claimed_log(self) -> Iterator[IO[str]]:
        """Open the log to append to; while it is open no other process can open it so (Windows does not check).

        Raises:
            ConfigError: another process has it.
        """
        with self.log.open("a", buffering=1) as log:
            if not _locked(log):
                raise ConfigError(
                    f"{self.path}: another process is training in this folder (process {self._facts['process']} on "
                    f"{self._facts['host']})\n    wait for it, or stop it first"
                )
            yield log


def in_use(path: Path) -> bool:
    """Whether another process is training in this folder; on Windows, which does not check, always False."""
    if not (path / LOG).exists():
        return False
    with (path / LOG).open("a") as log:
        return not _locked(log)


def _locked(log: IO[str]) -> bool:
    """Lock the file until it is closed or the process ends, however it ends; False where another process has it."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
    return True


def default_path(experiment: str, strategy: str, seed: int, root: Path = Path("runs")) -> Path:
    """Return `runs/<experiment>/<date>_<strategy>_s<seed>`, with a number behind it where that is taken."""
    return dated_path(root / experiment, f"{strategy}_s{seed}")


def dated_path(parent: Path, name: str) -> Path:
    """Return `<parent>/<date>_<name>`, with a number behind it where that is taken."""
    stem = f"{datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}_{name}"
    path = parent / stem
    number = 2
    while path.exists():
        path = parent / f"{stem}_{number}"
        number += 1
    return path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
