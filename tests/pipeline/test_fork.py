"""A run that goes on as another one."""

import json

import pytest
import torch
from killed_runs import Reaper, assert_same_run, start, train_with_kills

from coral_mtl.engine.trainer import Outcome
from coral_mtl.errors import CheckpointError, ConfigError
from coral_mtl.running.forking import fork, refuse_changes
from coral_mtl.running.run import Run

FLOAT16 = "trainer.mixed_precision_dtype=float16"
ADAMW = "optimizer={type: AdamW, params: {lr: 0.01}}"


def records(run):
    return [json.loads(line) for line in run.folder.diagnostics.read_text().splitlines()]


def state(run, name="last.pt"):
    return torch.load(run.folder.checkpoints / name, weights_only=True)["trainer"]


@pytest.fixture
def parent(tmp_path):
    """A finished run of 36 steps in 3 epochs, at a constant learning rate of 0.01."""
    run = start(tmp_path / "parent", "Uncertainty", "{}", ADAMW, "trainer.val_frequency=1")
    assert run.train() is Outcome.FINISHED
    return run


def forked(parent, tmp_path, *overrides):
    return fork(parent.folder.path, [f"trainer.output_dir={tmp_path / 'fork/run'}", *overrides], command=["test"])


def test_another_length_learning_rate_and_schedule_do_what_they_say(parent, tmp_path):
    schedule = "optimizer.schedule={linear: {start: 1.0, end: 0.0, length: 1.0}}"
    run = forked(parent, tmp_path, "trainer.epochs=5", "optimizer.params.lr=0.1", schedule)
    assert run.train() is Outcome.FINISHED
    found = records(run)
    assert [record["step"] for record in found] == list(range(37, 61))
    assert [record["lr"] for record in found] == pytest.approx([0.1 * (1 - step / 60) for step in range(36, 60)])
    assert state(run)["step"] == 60


def test_it_starts_from_the_old_weights_averages_and_best(parent, tmp_path):
    run = forked(parent, tmp_path, "trainer.epochs=5", "optimizer.params.weight_decay=0.0")
    old, new = state(parent), state(run)
    assert all(torch.equal(old["model"][name], tensor) for name, tensor in new["model"].items())
    moments = [sorted(float(s["exp_avg_sq"].sum()) for s in one["optimizer"]["state"].values()) for one in (old, new)]
    assert moments[0] == moments[1]
    assert {group["weight_decay"] for group in new["optimizer"]["param_groups"]} == {0.0}
    assert {group["weight_decay"] for group in old["optimizer"]["param_groups"]} == {0.0, 0.01}
    assert new["controllers"]["selection"]["best"] == old["controllers"]["selection"]["best"]
    best = [state(one, "best.pt")["model"] for one in (parent, run)]
    assert all(torch.equal(best[0][name], tensor) for name, tensor in best[1].items())


@pytest.mark.parametrize(
    "other",
    [
        ["trainer.model_selection_metric=global.loss", "trainer.metric_mode=min"],
        ["trainer.model_selection_metric=tasks.left.accuracy"],
    ],
)
def test_figures_of_another_metric_are_not_compared(tmp_path, other):
    plateau = "optimizer.plateau={factor: 0.5, patience: 2}"
    stage = "trainer.stages=[{begin: 0.3, rollback: {margin: 0.0, lr_factor: 0.5, at_most: 3}}]"
    parent = start(tmp_path / "parent", "Equal", "{}", ADAMW, "trainer.val_frequency=1", plateau, stage)
    parent.train()
    before = state(parent)["controllers"]
    assert None not in (before["selection"]["best"], before["plateau"]["mark"], before["stages"]["best"])
    run = forked(parent, tmp_path, "trainer.epochs=4", *other)
    begun = state(run)["controllers"]
    assert begun["selection"] == {"best": None, "mark": None, "stale": 0}
    assert begun["plateau"] == before["plateau"] | {"mark": None, "stale": 0}
    assert begun["stages"] == before["stages"] | {"best": None, "weights": None}
    assert not (run.folder.checkpoints / "best.pt").exists()
    run.train()
    assert state(run, "best.pt")["step"] == 48
    assert state(run)["controllers"]["selection"]["best"] == state(run)["controllers"]["plateau"]["mark"]


def test_averages_follow_their_parameters_into_other_groups(parent, tmp_path):
    rules = "parameters=[{pattern: trunk.*, weight_decay: 0.0}]"
    run = forked(parent, tmp_path, "trainer.epochs=5", rules)

    def by_name(one):
        groups = one["optimizer"]["param_groups"]
        named = {n: i for group in groups for n, i in zip(group.get("names", []), group["params"], strict=False)}
        return {name: one["optimizer"]["state"][number]["exp_avg"] for name, number in named.items()}

    old, new = by_name(state(parent)), by_name(state(run))
    assert list(old) != list(new)
    assert all(torch.equal(old[name], average) for name, average in new.items())
    run.train()


def test_it_is_recorded_as_what_it_is(parent, tmp_path):
    run = forked(parent, tmp_path, "trainer.epochs=4")
    facts = json.loads((run.folder.path / "run.json").read_text())
    assert facts["id"] != parent.folder.id
    assert facts["forked_from"] == {
        "run": parent.folder.id,
        "folder": str(parent.folder.path),
        "step": 36,
        "changes": {"trainer.epochs": ["3", "4"]},
    }


def test_a_fork_is_a_run_as_any_other_when_it_is_killed(parent, tmp_path, monkeypatch):
    reaper = Reaper(monkeypatch)
    change = ["trainer.epochs=5", "optimizer.schedule={cosine: {start: 1, end: 0}}"]
    whole = fork(parent.folder.path, [*change, f"trainer.output_dir={tmp_path / 'whole/run'}"], command=["test"])
    whole.train()
    killed = fork(parent.folder.path, [*change, f"trainer.output_dir={tmp_path / 'killed/run'}"], command=["test"])
    assert train_with_kills(killed, reaper, [30, 41, 52]) == 3
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_stages_begin_where_the_new_length_puts_them(tmp_path):
    stage = "trainer.stages=[{begin: 0.5, lr_factor: 0.5}]"
    parent = start(tmp_path / "parent", "Equal", "{}", ADAMW, stage)
    parent.train()
    run = forked(parent, tmp_path, "trainer.epochs=9")
    run.train()
    rates = {record["step"]: record["lr"] for record in records(run)}
    assert [rates[step] for step in (37, 54, 55)] == pytest.approx([0.01, 0.01, 0.005])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "nothing changes"),
        (["seed=3", "trainer.epochs=5"], "seed was 0 and is 3"),
        (["model.params.width=4", "trainer.epochs=5"], r"model\.params\.width was 2 and is 4"),
        (["optimizer.params.lr=0.02"], "the fork is to end after 3"),
        (["loss.weighting_strategy.weight_averaging=0.9"], r"weight_averaging was null and is 0\.9"),
        (["loss.weighting_strategy.clip_direction=1.0"], r"clip_direction was null and is 1\.0"),
        (
            ["loss.weighting_strategy={type: MGDA, over: {type: Uncertainty}}"],
            r"over\.type was none and is Uncertainty",
        ),
        (["trainer.snapshots=[2,4]", "trainer.epochs=5"], "after epoch 2, which the run did not keep"),
    ],
)
def test_what_no_fork_can_be(parent, tmp_path, overrides, told):
    with pytest.raises(ConfigError, match=told):
        forked(parent, tmp_path, *overrides)
    assert not (tmp_path / "fork").exists()


def test_what_lies_under_the_strategy_stays_what_it_is(tmp_path):
    parent = start(tmp_path / "parent", "MGDA", "{}", ADAMW, "loss.weighting_strategy.over={type: Equal}")
    with pytest.raises(ConfigError, match=r"over\.times\.type was none and is DWA"):
        forked(parent, tmp_path, "loss.weighting_strategy.over.times={type: DWA}")


def test_a_fork_may_be_the_first_to_scale_its_gradients(parent, tmp_path):
    run = forked(parent, tmp_path, "trainer.epochs=4", "trainer.use_mixed_precision=true", FLOAT16)
    assert run.train() is Outcome.FINISHED
    assert "scaler" not in state(parent)
    scaled = state(run)["scaler"]["scale"]
    again = fork(
        run.folder.path, [f"trainer.output_dir={tmp_path / 'third/run'}", "trainer.epochs=5"], command=["test"]
    )
    assert state(again)["scaler"]["scale"] == scaled


def test_snapshots_that_were_kept_and_those_to_come_can_be_asked_for(tmp_path):
    parent = start(tmp_path / "parent", "Equal", "{}", ADAMW, "trainer.snapshots=[2]")
    parent.train()
    run = forked(parent, tmp_path, "trainer.epochs=5", "trainer.snapshots=[2,4]")
    run.train()
    assert list(state(run)["snapshots"]) == [2, 4]
    with pytest.raises(ConfigError, match=r"after epoch 1, which.*\n.*from 4 on, and those that it kept: \[2\]"):
        fork(parent.folder.path, ["trainer.epochs=5", "trainer.snapshots=[1,2]"], command=["test"])


def test_without_a_fork_a_change_is_refused_by_name(parent):
    path = parent.folder.path
    refuse_changes(path, [])
    refuse_changes(path, ["trainer.epochs=3"])
    with pytest.raises(ConfigError, match=r"trainer\.epochs was 3 and is 4\n.*--fork"):
        refuse_changes(path, ["trainer.epochs=4"])
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.01", "lr: 0.5"))
    with pytest.raises(CheckpointError, match=r"optimizer\.params\.lr was 0\.01 and is 0\.5"):
        Run.reopen(path)
