"""A run that is killed and resumed is, to the last bit, the run that was not."""

import json
import random

import pytest
import torch
from killed_runs import Reaper, assert_same_run, records, start, train_with_kills

from coral_mtl import registry
from coral_mtl.engine.trainer import Outcome
from coral_mtl.errors import CheckpointError
from coral_mtl.options import options_of
from coral_mtl.running.run import Run

PARAMS = {
    "Static": "{weights: {left: {cosine: {start: 1.0, end: 0.2}}, right: {steps: {values: {0: 0.0, 0.4: 2.0}}}, "
    "ink: 0.1}}",
    "Mixture": "{term: left, alpha: {cosine: {start: 1.0, end: 0.2}}}",
    "Curriculum": "{plan: complexity_cascade, terms: [ink, left, right]}",
    "Switch": "{weights: [{left: 1.0, right: 1.0, ink: 0.1}, {left: 0.5, right: 1.0, ink: 0.2}], ratio: [left, ink], "
    "thresholds: [0.05], dwell: 4, beta: 0.5, update_frequency: 3}",
}
"""Options of the strategies that cannot do without."""


def params_of(name):
    """Reuse coefficients where the strategy can, so that a run may be killed between two refreshes."""
    cls = registry.strategies.get(name)
    if name in PARAMS:
        return PARAMS[name]
    return "{update_frequency: 3}" if "update_frequency" in options_of(cls).keys() - cls().unused_options() else "{}"


TWO_STAGES = [
    "loss.weighting_strategy={type: Static, params: {weights: {left: {steps: {values: {0: 1, 0.4: 0}}}, right: 1, "
    "ink: {knots: {values: {0.2: 0, 0.6: 0.1}}}}}}",
    "trainer.stages=[{begin: 0.4, restore_best: true, reset_optimizer: true, rewarm: 3 steps, lr_factor: 0.5}, "
    "{begin: 0.7, rollback: {margin: 0.0}}]",
    "trainer.val_frequency=1",
]
"""Two sets of weights; what is kept of a stage is needed at the next one, and by a rollback."""

ADAPTIVE = [
    "loss.weighting_strategy={type: Switch, params: {weights: [{left: 1, right: 1, ink: 0.1}, {left: 0.5, right: 1, "
    "ink: 0.2}], ratio: [left, ink], thresholds: [0.05], dwell: 4, beta: 0.5}, times: {type: ValueNormalised}}",
    "trainer.val_frequency=1",
    "regularisers={sparse: {penalty: {l1: {weight: 1e-3}}, parameters: [heads.right.*]}, even: {penalty: {entropy: "
    "{weight: 1e-3}}, parameters: [trunk.3.weight], schedule: {linear: {start: 0, end: 1}}}}",
    "constraints={bounded: {set: {box: {low: -0.2, high: 0.2}}, parameters: [trunk.3.*], "
    "mode: {augmented_lagrangian: {rho: 3}}}, soft: {set: {ball: {radius: 3}}, parameters: [heads.left.weight], "
    "mode: reparametrised}}",
]
"""Weights that follow gradients, multipliers that follow violations, and terms that follow the clock."""

RESTARTING = [
    "optimizer={type: AdamW, params: {lr: 0.01}, plateau: {patience: 1, factor: 0.7}, "
    "schedule: {warmup: {length: 4 steps, then: {restarts: {period: 7 steps, multiplier: 1.5, decay: 0.8}}}}}",
    "parameters=[{pattern: trunk.0.*, frozen: true}, {pattern: heads.*, lr_factor: 3.0, weight_decay: 0.1}]",
    "trainer.val_frequency=1",
    "trainer.snapshots=[1, 2]",
]


@pytest.mark.parametrize("strategy", registry.strategies.names())
def test_every_strategy_resumes_bit_for_bit_at_20_random_moments(strategy, tmp_path, monkeypatch):
    reaper = Reaper(monkeypatch)
    whole = start(tmp_path / "whole", strategy, params_of(strategy))
    assert whole.train() is Outcome.FINISHED
    per_kill = reaper.moments // 20
    draw = random.Random(strategy)
    killed = start(tmp_path / "killed", strategy, params_of(strategy))
    kills = [draw.randint(1, 3 * per_kill) for _ in range(20)]
    assert train_with_kills(killed, reaper, kills) >= 15, "most of the kills must come before the run is over"
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.use_pcgrad_wrapper=true"],
        ["trainer.gradient_accumulation_steps=3"],
        ["trainer.use_mixed_precision=true", "trainer.mixed_precision_dtype=float16"],
        ["trainer.use_mixed_precision=true"],
        ["data.num_workers=2"],
        [
            "trainer.early_stopping={patience: 2}",
            "trainer.val_frequency=1",
            "trainer.epochs=9",
            "optimizer.params.lr=0.1",
        ],
        ["diagnostics.record_every=4", "diagnostics.gradient_every=8"],
        TWO_STAGES,
        ADAPTIVE,
        RESTARTING,
    ],
    ids=lambda overrides: overrides[0][:60],
)
def test_every_way_to_train_resumes_bit_for_bit(overrides, tmp_path, monkeypatch):
    reaper = Reaper(monkeypatch)
    whole = start(tmp_path / "whole", "Uncertainty", "{}", *overrides)
    outcome = whole.train()
    assert outcome is not Outcome.INTERRUPTED
    draw = random.Random(overrides[0])
    killed = start(tmp_path / "killed", "Uncertainty", "{}", *overrides)
    kills = [draw.randint(1, reaper.moments // 4) for _ in range(6)]
    assert train_with_kills(killed, reaper, kills) >= 3
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_a_kill_at_any_moment_around_the_end_of_an_epoch_loses_and_doubles_nothing(tmp_path, monkeypatch):
    reaper = Reaper(monkeypatch)
    one_epoch = ["trainer.epochs=1", "trainer.val_frequency=1"]
    whole = start(tmp_path / "whole", "Uncertainty", "{}", *one_epoch)
    begin = reaper.moments
    whole.train()
    total = reaper.moments - begin
    for moment in range(total - 30, total + 1):
        run = start(tmp_path / f"killed {moment}", "Uncertainty", "{}", *one_epoch)
        assert train_with_kills(run, reaper, [moment]) == 1
        assert_same_run(tmp_path / "whole", tmp_path / f"killed {moment}")


def test_a_stop_request_saves_at_every_place_and_goes_on_bit_for_bit(tmp_path):
    whole = start(tmp_path / "whole", "NashMTL", "{update_frequency: 3}")
    whole.train()
    run = start(tmp_path / "stopped", "NashMTL", "{update_frequency: 3}")
    stops = 0
    outcome = Outcome.INTERRUPTED
    while outcome is Outcome.INTERRUPTED:
        asked = iter([False, False, True])
        outcome = run.train(stop=lambda asked=asked: next(asked, True))
        stops += outcome is Outcome.INTERRUPTED
        run = Run.reopen(run.folder.path)
    assert stops > 10
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert json.loads((run.folder.path / "run.json").read_text())["status"] == "finished"


def test_a_finished_run_stays_as_it_is(tmp_path):
    run = start(tmp_path / "done", "Equal")
    run.train()
    before = records(tmp_path / "done/run/loss_diagnostics.jsonl")
    assert Run.reopen(run.folder.path).train() is Outcome.FINISHED
    assert records(tmp_path / "done/run/loss_diagnostics.jsonl") == before


def test_foreign_and_changed_and_damaged_checkpoints_are_refused(tmp_path):
    one, other = start(tmp_path / "one", "Equal"), start(tmp_path / "other", "Equal")
    one.train()
    other.train()
    last = tmp_path / "one/run/checkpoints/last.pt"
    own = last.read_bytes()

    last.write_bytes((tmp_path / "other/run/checkpoints/last.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"is of the run .*, and the folder is of"):
        Run.reopen(one.folder.path)

    last.write_bytes(own[: len(own) // 2])
    with pytest.raises(CheckpointError, match="cannot read this checkpoint"):
        Run.reopen(one.folder.path)

    last.unlink()
    with pytest.raises(CheckpointError, match="there is no checkpoint here"):
        Run.reopen(one.folder.path)

    last.write_bytes(own)
    config = tmp_path / "one/run/config.yaml"
    config.write_text(config.read_text().replace("epochs: 3", "epochs: 4"))
    with pytest.raises(CheckpointError, match=r"config\.yaml is not what it was"):
        Run.reopen(one.folder.path)


def test_the_checkpoint_holds_what_another_process_needs(tmp_path):
    run = start(tmp_path / "run", "Uncertainty")
    run.train()
    state = torch.load(run.folder.checkpoints / "last.pt", weights_only=True)
    assert {"format", "run", "config", "environment", "trainer"} == set(state)
    assert state["environment"]["torch"] == torch.__version__
    assert state["config"] == run.folder.config.read_text()
    assert state["trainer"]["step"] == 36
    assert set(state["trainer"]["generators"]) == {"torch", "cuda", "numpy", "python"}
