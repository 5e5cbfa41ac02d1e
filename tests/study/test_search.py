"""Studies: trials are ordinary runs, an interrupted study goes on to what it would have found."""

import builtins
import json

import pytest
from rich.console import Console
from small_studies import YAML, written

from coral_mtl.config import load_config
from coral_mtl.engine.trainer import Trainer
from coral_mtl.errors import CheckpointError, ConfigError, DataError, MissingExtraError, StrategyError
from coral_mtl.experiment import build_experiment
from coral_mtl.study.search import Search
from coral_mtl.study.space import extremes, overrides
from coral_mtl.study.table import study_table

SPACE = """
study:
  n_trials: 4
  space:
    optimizer.params.lr: {type: float, low: 1e-4, high: 1e-1, log: true}
    model.params.features: {type: int, low: 4, high: 8, step: 4}
    loss.weighting_strategy.type: {type: categorical, choices: [Equal, PCGrad]}
"""


CHOICES = """
study: {n_trials: 6, space: {loss.weighting_strategy.type: {type: categorical, choices: [Equal, PCGrad]}}}
"""


def refusing(strategy, error):
    """Building experiments, but with an error for one strategy."""

    def build(config):
        if config.loss.weighting_strategy.type == strategy:
            raise error
        return build_experiment(config)

    return build


class Killed(BaseException):
    """Ends a study as a signal would."""


@pytest.fixture
def begin(tmp_path):
    def started(text=SPACE, folder="s", base=YAML):
        config = load_config(written(tmp_path, base + text), study=True)
        return Search.create(tmp_path / folder, config)

    return started


def run(search, stop=lambda: False):
    return search.run(tell=lambda line: None, stop=stop)


def figures(found):
    return [(trial.state, trial.settings, trial.values) for trial in found.trials]


def test_trials_are_ordinary_runs_with_the_settings_of_the_space(begin, tmp_path):
    found = run(begin())
    assert len(found.trials) == 4
    assert {trial.state for trial in found.trials} == {"complete"}
    for trial in found.trials:
        config = load_config(tmp_path / "s" / trial.folder / "config.yaml")
        assert config.study is None
        assert config.optimizer.params["lr"] == trial.settings["optimizer.params.lr"]
        assert config.model.params["features"] == trial.settings["model.params.features"] in (4, 8)
        assert config.loss.weighting_strategy.type == trial.settings["loss.weighting_strategy.type"]
        records = (tmp_path / "s" / trial.folder / "metrics.jsonl").read_text().splitlines()
        scores = [json.loads(line)["metrics"]["global.score"] for line in records]
        assert trial.values == {"global.score": max(scores)}
    scores = [trial.values["global.score"] for trial in found.trials]
    assert found.best == (scores.index(max(scores)),)
    assert json.loads((tmp_path / "s/study.json").read_text())["best"] == list(found.best)


def test_an_interrupted_study_finds_what_it_would_have_found(begin, tmp_path, monkeypatch):
    whole = run(begin(folder="whole"))
    search = begin(folder="cut")
    asked = iter([False] * 4)
    assert run(search, stop=lambda: next(asked, True)) is None
    states = {trial.state for trial in search.found().trials}
    assert "running" in states, "stopped within a trial"
    steps = Trainer.take_step

    def deadly(self, batches):
        if self.step == 1:
            raise Killed
        return steps(self, batches)

    again = Search.begin([str(tmp_path / "cut")])
    monkeypatch.setattr(Trainer, "take_step", deadly)
    with pytest.raises(Killed):
        run(again)
    monkeypatch.undo()
    assert figures(run(Search.begin([str(tmp_path / "cut")]))) == figures(whole)


def test_a_finished_study_trains_nothing_more(begin, tmp_path, monkeypatch):
    found = run(begin())
    monkeypatch.setattr("coral_mtl.study.search.Run.create", None)
    assert run(Search.begin([str(tmp_path / "s")])) == found


def test_several_objectives_have_a_pareto_front(begin):
    objectives = "  objectives: [{metric: tasks.left.accuracy}, {metric: tasks.ink.rmse, mode: min}]\n"
    found = run(begin(SPACE + objectives))
    assert found.objectives == {"tasks.left.accuracy": "max", "tasks.ink.rmse": "min"}
    pairs = [(trial.values["tasks.left.accuracy"], -trial.values["tasks.ink.rmse"]) for trial in found.trials]
    front = [
        number
        for number, own in enumerate(pairs)
        if not any(all(a >= b for a, b in zip(other, own, strict=True)) and other != own for other in pairs)
    ]
    assert sorted(found.best) == front


def test_hopeless_trials_are_stopped(begin, tmp_path):
    pruned = SPACE.replace("n_trials: 4", "n_trials: 8\n  pruner: {startup_trials: 2, warmup_epochs: 0}")
    found = run(begin(pruned, base=YAML.replace("epochs: 1", "epochs: 3")))
    stopped = [trial for trial in found.trials if trial.state == "pruned"]
    assert stopped
    for trial in stopped:
        folder = tmp_path / "s" / trial.folder
        assert json.loads((folder / "run.json").read_text())["status"] == "pruned"
        assert len((folder / "metrics.jsonl").read_text().splitlines()) < 3


def test_diverged_trials_are_told_and_the_study_goes_on(begin):
    base = YAML.replace("epochs: 1", "epochs: 2, max_nonfinite_steps: 1") + "optimizer: {type: SGD}\n"
    space = "study: {n_trials: 3, space: {optimizer.params.lr: {type: categorical, choices: [1e-3, 1e30]}}}"
    found = run(begin(space, base=base))
    failed = [trial for trial in found.trials if trial.state == "fail"]
    assert failed
    assert "steps in a row were skipped" in failed[0].failure
    assert {trial.settings["optimizer.params.lr"] for trial in failed} == {1e30}


@pytest.mark.parametrize("error", [StrategyError, DataError])
def test_settings_that_cannot_be_trained_are_told_and_the_study_goes_on(begin, monkeypatch, error):
    monkeypatch.setattr(
        "coral_mtl.study.search.build_experiment", refusing("PCGrad", error("cannot be had\n    so it is"))
    )
    states = {trial.settings["loss.weighting_strategy.type"]: trial for trial in run(begin(CHOICES)).trials}
    assert states["Equal"].state == "complete"
    assert (states["PCGrad"].state, states["PCGrad"].failure) == ("fail", "cannot be had")


def test_a_damaged_checkpoint_is_no_trial_that_failed(begin, monkeypatch):
    search = begin(CHOICES)
    monkeypatch.setattr("coral_mtl.study.search.build_experiment", refusing("PCGrad", CheckpointError("damaged")))
    with pytest.raises(CheckpointError, match="damaged"):
        run(search)
    assert "fail" not in {trial.state for trial in search.found().trials}


def test_the_folder_belongs_to_one_study(begin, tmp_path):
    run(begin())
    with pytest.raises(ConfigError, match="holds another study"):
        begin(SPACE.replace("n_trials: 4", "n_trials: 5"))
    with pytest.raises(ConfigError, match="was begun before"):
        Search.begin([str(tmp_path / "s"), "study.n_trials=5"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").touch()
    with pytest.raises(ConfigError, match="not empty"):
        begin(folder="full")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("high: 8", "high: 8000000, foo: 1"), "unknown key"),
        (("choices: [Equal, PCGrad]", "choices: [Equal, PCGrid]"), 'did you mean "PCGrad"'),
        (("optimizer.params.lr", "optimizer.params.rate"), "optimizer.params.rate"),
        (("low: 1e-4", "low: -1.0"), "above 0"),
    ],
)
def test_a_space_that_is_not_legal_is_told_before_anything_is_made(begin, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        begin(SPACE.replace(*change))
    assert not (tmp_path / "s").exists()


def test_a_configuration_without_a_study_is_refused(begin):
    with pytest.raises(ConfigError, match="no section study"):
        begin("")


def test_without_optuna_the_extra_is_named(begin, monkeypatch):
    original = builtins.__import__

    def importing(name, *args, **kwargs):
        if name == "optuna":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(MissingExtraError, match=r"coral-mtl\[study\]"):
        begin()


def test_extremes_try_both_ends_and_every_choice(tmp_path):
    space = load_config(written(tmp_path, YAML + SPACE), study=True).study.space
    found = list(extremes(space))
    assert [each["optimizer.params.lr"] for each in found] == [1e-4, 1e-1, 1e-4]
    assert [each["loss.weighting_strategy.type"] for each in found] == ["Equal", "PCGrad", "PCGrad"]
    assert overrides(found[0])[:2] == ["study=null", "optimizer.params.lr=0.0001"]


def test_the_table_shows_the_best_and_counts_the_others(begin):
    found = run(begin())
    console = Console(width=200)
    with console.capture() as captured:
        console.print(study_table(found))
    text = captured.get()
    assert f"trials/{found.best[0]:04d}" in text
    assert "Trials: 4 complete." in text
