"""Comparisons and runs so small that they fit in a test, made in this process."""

import json
from pathlib import Path

from coral_mtl.config import load_config
from coral_mtl.errors import CoralError
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run
from coral_mtl.study import compare
from coral_mtl.study.definition import define

YAML = """
name: small
data: {type: OverlappingDigits, params: {train_size: 40, validation_size: 60}, batch_size: 20}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
loss: {weighting_strategy: {type: Uncertainty}}
trainer: {epochs: 1, device: cpu}
"""


def written(folder: Path, text: str = YAML) -> Path:
    """The YAML as a file in the folder."""
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def train(config: Path, folder: Path, *overrides: str, stop=lambda: False) -> Path:
    """Train a run in the folder, and return it."""
    settings = load_config(config, [*overrides, f"trainer.output_dir={json.dumps(str(folder))}"])
    try:
        Run.create(build_experiment(settings), command=["test"]).train(stop=stop)
    except CoralError:
        assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    return folder


def run_here(jobs, at_once, *, begun, finished, stop):
    """What `run_jobs` does, in this process and one after the other."""
    for job in jobs:
        if not job.done and not stop():
            if job.facts is None:
                train(job.config, job.folder, *job.overrides)
            else:
                Run.reopen(job.folder).train()
        if job.facts:
            begun(job)
        if job.done:
            finished(job)
    return [job for job in jobs if not job.done]


class Compared:
    """Comparisons made in this process: counts the runs that are trained, keeps the lines that are told.

    Runs with a label that begins with `failing` are not made, as if each had failed.
    """

    def __init__(self, monkeypatch):
        self.failing = "nothing"
        self.lines = []
        self.trained = []
        monkeypatch.setattr(compare, "run_jobs", self._run)

    def _run(self, jobs, at_once, **hooks):
        able = [job for job in jobs if not job.label.startswith(self.failing)]
        self.trained += [job.folder.name for job in able if not job.done]
        return [*run_here(able, at_once, **hooks), *(job for job in jobs if job not in able)]

    def __call__(self, config: Path, folder: Path, *strategies, seeds=3, stop=lambda: False, **options):
        settings = load_config(config)
        definition = define(settings, strategies, seeds, **options)
        comparison = compare.Comparison.create(folder, definition, settings)
        return comparison.run(1, tell=self.lines.append, stop=stop)
