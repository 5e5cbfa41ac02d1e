"""Runs in processes of their own, side by side, each with one thread."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.running.folder import RUN, in_use
from coral_mtl.study.measured import ended

_POLL = 0.1
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Job:
    """A run to make: `coral-mtl train CONFIG OVERRIDES` in `folder`, told of as `label`; `log` takes what it prints."""

    label: str
    config: Path
    overrides: tuple[str, ...]
    folder: Path
    log: Path

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the run's run.json says, None before it is there."""
        path = self.folder / RUN
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do: the run came to its end, or diverged."""
        return ended(self.facts or {})

    @property
    def held(self) -> bool:
        """Whether a process is at it that was not started here: of a caller that was killed."""
        return in_use(self.folder)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the run, or go on with it from its last checkpoint."""
        if self.facts is None:
            shutil.rmtree(self.folder, ignore_errors=True)  # of a process that was killed before its run began
            folder = f"trainer.output_dir={json.dumps(str(self.folder))}"
            command = ["train", str(self.config), *self.overrides, folder]
        else:
            command = ["resume", str(self.folder)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "coral_mtl", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | dict.fromkeys(_THREADS, "1"),
                start_new_session=True,  # a terminal's Ctrl-C reaches the caller alone, who passes it on once
            )


def run_jobs(
    jobs: Sequence[Job],
    at_once: int,
    *,
    begun: Callable[[Job], None],
    finished: Callable[[Job], None],
    stop: Callable[[], bool],
) -> list[Job]:
    """Run the jobs that are not done yet, so many at once; on a stop each running one writes a checkpoint first.

    A job that is held counts as one of those that run, and is taken up once that process is gone.

    Return those that did not come to their end: stopped, or failed.

    Args:
        jobs: with folders of their own.
        at_once: the largest number of processes.
        begun: told of each job once its folder says what it starts from; an error that it raises stops all.
        finished: told of each job that came to its end, also of those that were done before.
        stop: asked time and again.
    """
    waiting = [job for job in jobs if not job.done]
    for job in jobs:
        if job.facts is not None:
            begun(job)
        if job not in waiting:
            finished(job)
    pool = _Pool(begun, finished)
    try:
        while (waiting and not stop()) or pool.running:
            while waiting and len(pool.running) < at_once and not stop():
                held = [job for job in waiting if job.held]
                free = [job for job in waiting if job not in held]
                if not free or len(pool.running) + len(held) >= at_once:
                    break
                waiting.remove(free[0])
                pool.start(free[0])
            if stop():
                pool.interrupt()
            time.sleep(_POLL)
            pool.look()
    finally:
        pool.interrupt()
        pool.wait()
    return [job for job in jobs if not job.done]


class _Pool:
    """The processes that run at the moment."""

    def __init__(self, begun: Callable[[Job], None], finished: Callable[[Job], None]) -> None:
        self.running: dict[Job, subprocess.Popen[bytes]] = {}
        self._begun, self._finished = begun, finished
        self._unseen: set[Job] = set()
        self._interrupted: set[Job] = set()

    def start(self, job: Job) -> None:
        if job.done:  # by the process that held it
            self._finished(job)
            return
        self.running[job] = job.start()
        self._unseen.add(job)

    def look(self) -> None:
        """Tell of the runs that have begun, and of those that have come to their end."""
        over = [job for job, process in self.running.items() if process.poll() is not None]
        for job in [job for job in self._unseen if job.facts is not None]:
            self._unseen.remove(job)
            self._begun(job)
        for job in over:
            del self.running[job]
            if job.done:
                self._finished(job)

    def interrupt(self) -> None:
        """Ask each process once to stop; a second request would kill it."""
        for job, process in self.running.items():
            if job not in self._interrupted and process.poll() is None:
                self._interrupted.add(job)
                process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        for process in self.running.values():
            process.wait()
