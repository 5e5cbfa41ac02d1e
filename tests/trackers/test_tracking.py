"""What trackers are told of a run, and that nothing they do can stop it."""

import json

import numpy as np
import pytest

from coral_mtl.config import load_config
from coral_mtl.config.sections import MLflow, Trackers, WandB
from coral_mtl.engine.reports import StepReport, ValidationReport
from coral_mtl.engine.step import Step
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.experiment import build_experiment
from coral_mtl.running import run as running
from coral_mtl.running.run import Run
from coral_mtl.trackers import observer
from coral_mtl.trackers.observer import Tracking, step_values
from coral_mtl.trackers.tracker import TrackedRun

YAML = """
name: tracked
data: {type: OverlappingDigits, params: {train_size: 24, validation_size: 8}, batch_size: 4}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
trainer: {epochs: 2, device: cpu}
diagnostics: {gradient_every: 3}
"""


class Fake:
    """Keeps what it is told; fails at the call whose number is `fatal`, counted over `log` and `close`."""

    def __init__(self, fatal=None):
        self.told, self.calls, self.closed, self._fatal = [], 0, [], fatal

    def _call(self):
        self.calls += 1
        if self.calls == self._fatal:
            raise ConnectionError("the network is away")

    def log(self, step, values):
        self._call()
        self.told.append((step, dict(values)))

    def close(self, *, failed):
        self._call()
        self.closed.append("failed" if failed else "finished")


def report(number=1, **fields):
    return StepReport(number=number, micro_step=number, epoch=0, account=Step(**fields), lr=0.5, clip_factor=1.0)


def test_a_measured_step_has_every_figure_under_a_flat_name():
    gram = np.array([[4.0, -3.0], [-3.0, 9.0]])
    step = report(
        tasks=("coral cover", "b"),
        losses={"coral cover": 1.5, "b": 2.5},
        weights={"coral cover": 0.75, "b": 0.25},
        gram=gram,
        update_norm=1.25,
    )
    assert step_values(step) == {
        "train/lr": 0.5,
        "train/loss/coral cover": 1.5,
        "train/loss/b": 2.5,
        "train/weight/coral cover": 0.75,
        "train/weight/b": 0.25,
        "train/grad_norm/coral cover": 2.0,
        "train/grad_norm/b": 3.0,
        "train/cosine/coral cover_vs_b": -0.5,
        "train/update_norm": 1.25,
    }


def test_what_was_not_measured_is_absent():
    assert step_values(report(tasks=("a",), losses={"a": 1.0}, weights={"a": 1.0})) == {
        "train/lr": 0.5,
        "train/loss/a": 1.0,
        "train/weight/a": 1.0,
    }


def test_metrics_are_filed_by_task():
    fake = Fake()
    with Tracking({"fake": lambda: fake}) as tracking:
        metrics = {"tasks.a.b.accuracy": 0.5, "global.score": 0.25}
        tracking.on_validation(ValidationReport(epoch=0, step=7, metrics=metrics, best=True))
    assert fake.told == [(7, {"val/a.b/accuracy": 0.5, "val/global/score": 0.25})]
    assert fake.closed == ["finished"]


def tell_four_steps(openers):
    with Tracking(openers) as tracking:
        for number in range(1, 5):
            tracking.on_step(report(number))


@pytest.mark.parametrize("fatal", [1, 2, 5])
def test_a_tracker_that_fails_is_told_once_and_left_alone_while_others_go_on(fatal):
    broken, sound = Fake(fatal), Fake()
    openers = {"broken": lambda: broken, "sound": lambda: sound}
    with pytest.warns(UserWarning, match="^broken failed") as told:
        tell_four_steps(openers)
    assert len(told) == 1
    assert "the network is away" in str(told[0].message)
    assert broken.calls == fatal
    assert [step for step, _ in sound.told] == [1, 2, 3, 4]
    assert sound.closed == ["finished"]


def test_a_tracker_that_cannot_be_opened_is_told_once():
    def refuse():
        raise RuntimeError("not logged in")

    with pytest.warns(UserWarning, match="not logged in") as told, Tracking({"refusing": refuse}) as tracking:
        tracking.on_step(report())
    assert len(told) == 1


@pytest.mark.parametrize("fatal", [None, 3])
def test_a_run_tells_its_trackers_and_outlives_them(tmp_path, monkeypatch, fatal):
    fake = Fake(fatal)
    monkeypatch.setattr(running, "openers", lambda settings, run: {"fake": lambda: fake})
    (tmp_path / "tracked.yaml").write_text(YAML)
    config = load_config(tmp_path / "tracked.yaml", [f"trainer.output_dir={json.dumps(str(tmp_path / 'run'))}"])
    run = Run.create(build_experiment(config), command=["test"])
    if fatal:
        with pytest.warns(UserWarning, match="fake failed"):
            assert run.train() == "finished"
        return
    assert run.train() == "finished"
    steps = [(step, values) for step, values in fake.told if "train/lr" in values]
    assert [step for step, _ in steps] == list(range(1, 13))
    records = [json.loads(line) for line in run.folder.diagnostics.read_text().splitlines()]
    for (_, values), record in zip(steps, records, strict=True):
        assert ("train/cosine/left_vs_ink" in values) == ("gradient_norm" in record)
        assert values["train/loss/ink"] == record["unweighted_losses"]["ink"]
    assert [step for step, values in fake.told if "val/left/accuracy" in values] == [6, 12]
    assert fake.closed == ["finished"]


def test_trackers_of_a_run_that_fails_are_told_so(tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setattr(running, "openers", lambda settings, run: {"fake": lambda: fake})
    (tmp_path / "tracked.yaml").write_text(YAML)
    overrides = ["optimizer.params.lr=1e30", "trainer.max_nonfinite_steps=1"]
    config = load_config(
        tmp_path / "tracked.yaml", [*overrides, f"trainer.output_dir={json.dumps(str(tmp_path / 'run'))}"]
    )
    with pytest.raises(TrainingError):
        Run.create(build_experiment(config), command=["test"]).train()
    assert fake.closed == ["failed"]


def test_a_configuration_opens_what_it_asks_for(tmp_path):
    run = TrackedRun(id="1", name="n", experiment="e", folder=tmp_path, step=0, config={})
    assert list(observer.openers(Trackers(), run)) == []
    everything = Trackers(tensorboard=True, wandb=WandB(mode="offline"), mlflow=MLflow())
    assert list(observer.openers(everything, run)) == ["TensorBoard", "Weights & Biases", "MLflow"]


def test_a_tracker_written_without_a_value_is_a_mistake(tmp_path):
    (tmp_path / "tracked.yaml").write_text(YAML + "trackers:\n  wandb:\n")
    with pytest.raises(ConfigError, match=r"tracked.yaml:8:3: trackers.wandb: .* \{\} asks for one"):
        load_config(tmp_path / "tracked.yaml")


def test_a_tracker_whose_package_is_missing_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("coral_mtl.config.trial.find_spec", lambda name: None)
    (tmp_path / "tracked.yaml").write_text(YAML + "trackers:\n  mlflow: {}\n")
    with pytest.raises(ConfigError, match=r"pip install 'coral-mtl\[mlflow\]'"):
        load_config(tmp_path / "tracked.yaml")
