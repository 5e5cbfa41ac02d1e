"""Stages: what they do, when, and what they remember."""

import math

import pytest
import torch
from torch import nn

from coral_mtl.config.course import Rollback, Stage
from coral_mtl.engine.optimizer import AdamW
from coral_mtl.engine.stages import Stages, staged
from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Horizon

RUN = Horizon(steps=100, steps_per_epoch=10)


def parts(*settings, mode="max"):
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    made = AdamW(model.named_parameters(), 100, lr=0.1)
    return model, made, Stages(settings, RUN, model, made, mode=mode)


def step(model, made):
    model(torch.ones(1, 2)).sum().backward()
    made.optimizer.step()
    made.schedule.step()


def test_a_stage_begins_once_at_its_step():
    _, _, stages = parts(Stage(begin=0.3, reset_optimizer=True), Stage(begin="70 steps", lr_factor=0.5))
    begun = {now: told for now in range(100) if (told := stages.enter(now))}
    assert begun == {30: "stage 2 begins, optimiser reset", 70: "stage 3 begins"}


def test_the_optimiser_forgets_its_averages():
    model, made, stages = parts(Stage(begin="1 steps", reset_optimizer=True))
    step(model, made)
    assert made.optimizer.state
    stages.enter(1)
    assert not made.optimizer.state


def test_the_weights_of_the_best_validation_come_back():
    model, made, stages = parts(Stage(begin=0.5, restore_best=True))
    kept = []
    for value in (0.1, 0.9, 0.4):
        step(model, made)
        kept.append([p.detach().clone() for p in model.parameters()])
        stages.observe(value)
    assert stages.enter(50) == "stage 2 begins, weights of the best validation restored (0.9)"
    assert all(torch.equal(p, best) for p, best in zip(model.parameters(), kept[1], strict=True))


def test_without_a_validation_there_is_nothing_to_restore():
    _, _, stages = parts(Stage(begin=0.5, restore_best=True))
    assert "nothing to restore" in stages.enter(50)


def test_divergence_is_undone_so_many_times():
    model, made, stages = parts(Stage(begin=0.1, rollback=Rollback(margin=0.1, lr_factor=0.5, at_most=2)), mode="min")
    stages.observe(1.0)
    assert stages.observe(50.0) is None, "not in the first stage"
    stages.enter(10)
    step(model, made)
    stages.observe(2.0)
    best = [p.detach().clone() for p in model.parameters()]
    step(model, made)
    assert stages.observe(2.05) is None, "within the margin"
    for number, value in enumerate((2.2, math.nan), 1):
        told = stages.observe(value)
        assert told == f"rollback {number} of 2, weights of the best validation restored (2), optimiser reset"
        assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), best, strict=True))
        assert not made.optimizer.state
        step(model, made)
    assert stages.factor == 0.25
    assert stages.observe(9.0) is None


def test_what_was_restored_is_the_first_to_fall_back_on():
    model, made, stages = parts(Stage(begin=0.5, restore_best=True, rollback=Rollback(margin=0.1)))
    best = [p.detach().clone() for p in model.parameters()]
    stages.observe(0.8)
    stages.enter(50)
    step(model, made)
    assert "weights of the best validation restored (0.8)" in stages.observe(0.2)
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), best, strict=True))


def test_its_state_brings_the_kept_weights_back():
    model, made, stages = parts(Stage(begin=0.5, restore_best=True))
    stages.observe(0.3)
    expected = [p.detach().clone() for p in model.parameters()]
    state = stages.state_dict()
    twin, made, resumed = parts(Stage(begin=0.5, restore_best=True))
    step(twin, made)
    resumed.load_state_dict(state)
    resumed.enter(50)
    assert all(torch.equal(p, kept) for p, kept in zip(twin.parameters(), expected, strict=True))


def test_learning_rates_of_stages():
    rate = staged(lambda _: 2.0, [Stage(begin=0.2, lr_factor=0.5), Stage(begin="50 steps", rewarm="4 steps")], RUN)
    assert [rate(now) for now in (0, 19, 20, 49)] == [2.0, 2.0, 1.0, 1.0]
    assert [rate(now) for now in range(50, 56)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("begins", [[0.0], [1.0], [0.5, 0.5], [0.5, "10 steps"]])
def test_stages_follow_one_another_within_the_run(begins):
    with pytest.raises(ConfigError, match="each must begin after the one before and before the end"):
        parts(*[Stage(begin=begin, reset_optimizer=True) for begin in begins])
