"""Runs that are killed at chosen moments and resumed, and what must be equal afterwards."""

import json
import os
import tempfile
import threading
from pathlib import Path

import torch

from coral_mtl import atomic
from coral_mtl.config import load_config
from coral_mtl.diagnostics.writer import RecordWriter
from coral_mtl.engine.engine import Engine
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run

YAML = """
name: killed
data: {type: OverlappingDigits, params: {train_size: 46, validation_size: 8}, batch_size: 4}
model: {type: SharedTrunk, params: {width: 2, features: 8, dropout: 0.2}}
loss: {weighting_strategy: {type: %s, params: %s}}
optimizer: {params: {lr: 0.01}}
trainer: {epochs: 3, checkpoint_every: 4, val_frequency: 2, device: cpu, max_grad_norm: 10.0}
"""
"""12 steps an epoch, the last with 2 of the 46 samples; 36 in all, and a checkpoint at the end of each epoch."""


class Killed(BaseException):
    """Ends a run as a signal would: nothing catches it."""


class Reaper:
    """Counts the moments of a run at which it could be killed, and kills it at the chosen one.

    Moments: before and after each backward pass, each update of the parameters, each record, each time records are put
    on the disk, each writing of a checkpoint and its renaming. What was not on the disk yet is lost.
    """

    def __init__(self, monkeypatch):
        self.lock = threading.Lock()
        self.moments = 0
        self.fatal = None
        self.writers = set()
        for owner, name in (
            (Engine, "backward"),
            (torch.optim.AdamW, "step"),
            (RecordWriter, "append"),
            (RecordWriter, "flush"),
            (torch, "save"),
            (atomic.Path, "replace"),
        ):
            monkeypatch.setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, function):
        def wrapper(*args, **kwargs):
            if isinstance(args[0], RecordWriter):
                self.writers.add(args[0])
            self.pass_by()
            result = function(*args, **kwargs)
            self.pass_by()
            return result

        return wrapper

    def pass_by(self):
        with self.lock:  # records are written on a thread of their own
            self.moments += 1
            if self.moments == self.fatal:
                self._lose_buffers()
                raise Killed

    def _lose_buffers(self):
        """Lead what the records' files would still write into another file."""
        with tempfile.TemporaryFile() as elsewhere:
            for writer in self.writers:
                if writer._file is not None:
                    os.dup2(elsewhere.fileno(), writer._file.fileno())

    def kill_after(self, moments):
        self.fatal = None if moments is None else self.moments + moments


def start(folder: Path, strategy: str, params: str = "{}", *overrides: str) -> Run:
    """A run in `folder`, not trained yet."""
    folder.mkdir(parents=True)
    (folder / "killed.yaml").write_text(YAML % (strategy, params))
    config = load_config(folder / "killed.yaml", [*overrides, f"trainer.output_dir={folder / 'run'}"])
    return Run.create(build_experiment(config), command=["test"])


def train_with_kills(run: Run, reaper: Reaper, kills) -> int:
    """Train to the end, killed after each number of moments and resumed from the folder; return how often it was."""
    happened = 0
    for moments in [*kills, None]:
        reaper.kill_after(moments)
        try:
            run.train()
        except Killed:
            happened += 1
            run = Run.reopen(run.folder.path)
        else:
            break
    reaper.kill_after(None)
    return happened


def assert_same_run(one: Path, other: Path) -> None:
    """All that two runs left behind is equal to the last bit, but for names and clocks."""
    for name in ("last.pt", "best.pt"):
        states = [
            torch.load(folder / "run/checkpoints" / name, weights_only=True)["trainer"] for folder in (one, other)
        ]
        assert_identical(*states, where=name)
    for name in ("loss_diagnostics.jsonl", "metrics.jsonl"):
        lines = [records(folder / "run" / name) for folder in (one, other)]
        assert lines[0] == lines[1], name


def records(path: Path) -> list[dict]:
    """Records without the run's id and wall-clock time; what else is in the lines is compared as text."""
    found = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        del record["run"]
        record.get("solver", {}).pop("seconds", None)
        found.append(json.dumps(record))
    return found


def assert_identical(one, other, where=""):
    """Equal in type, structure and every bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert one.reshape(-1).numpy().tobytes() == other.reshape(-1).numpy().tobytes(), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_identical(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_identical(*pair, f"{where}[{index}]")
    else:
        assert repr(one) == repr(other), where
