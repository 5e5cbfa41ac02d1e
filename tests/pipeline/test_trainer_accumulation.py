"""Micro-batches through the trainer: for every strategy the run is that of batches so many times as large."""

import numpy as np
import pytest
import torch
from toy_training import make_trainer

from coral_mtl import registry
from coral_mtl.engine.stack import Stack

OPTIONS = {
    "Static": {"weights": {"a": 1.0, "b": 0.3, "c": 0.02}},
    "Mixture": {"term": "a", "alpha": {"linear": {"start": 1.0, "end": 0.2}}},
    "Curriculum": {"plan": "complexity_cascade", "terms": ["a", "b", "c"]},
    "Switch": {
        "weights": [{"a": 1.0, "b": 0.3, "c": 0.02}, {"a": 0.1, "b": 0.2, "c": 0.01}],
        "ratio": ("a", "b"),
        "thresholds": [0.1],
        "dwell": 0,
    },
}


def built(name):
    return registry.strategies.get(name)(**OPTIONS.get(name, {}))


def trained(strategy, *, batch_size, steps):
    """Parameters after two epochs of 50 samples in windows of 16, 16, 16 and 2."""
    trainer, diary = make_trainer(strategy, batch_size=batch_size, gradient_accumulation_steps=steps, lr=1e-3)
    before = torch.cat([parameter.detach().clone().reshape(-1) for parameter in trainer.model.parameters()])
    trainer.fit()
    after = torch.cat([parameter.detach().reshape(-1) for parameter in trainer.model.parameters()])
    return after - before, diary


@pytest.mark.parametrize("name", registry.strategies.names())
def test_micro_batches_are_one_batch_of_their_size_together(name):
    """Into four parts; strategies that ask for two independent batches cut a single one in halves by themselves."""
    parts = 4 if registry.strategies.get(name).batches == 1 else 2
    large, _ = trained(built(name), batch_size=16, steps=1)
    small, diary = trained(built(name), batch_size=16 // parts, steps=parts)
    steps = [4, 8, 12, 13, 17, 21, 25, 26] if parts == 4 else [2, 4, 6, 8, 10, 12, 14, 16]
    assert [report.micro_step for report in diary.steps] == steps
    assert (small - large).norm() <= 1e-6 * large.norm()


def test_a_strategy_that_asks_for_it_is_told_the_losses_after_each_step():
    def famo():
        return registry.strategies.get("FAMO")(losses_after="forward")

    strategy = famo()
    told = []
    strategy.observe_after = told.append
    strategy.weigh = lambda observation: np.ones(3)
    trainer, diary = make_trainer(strategy, batch_size=4, gradient_accumulation_steps=4, epochs=1, lr=1e-4)
    trainer.fit()
    assert len(told) == len(diary.steps) == 4
    for observation, report in zip(told, diary.steps, strict=True):
        before, after = sum(report.account.losses.values()), observation.losses.sum()
        assert after < before, "descent on the very samples of the step"
        assert after > 0.5 * before
    large, _ = trained(famo(), batch_size=16, steps=1)
    small, _ = trained(famo(), batch_size=4, steps=4)
    assert (small - large).norm() <= 1e-6 * large.norm()


def test_a_stack_is_as_exact():
    def stack():
        return Stack(built("Uncertainty"), built("PCGrad"))

    large, _ = trained(stack(), batch_size=16, steps=1)
    small, _ = trained(stack(), batch_size=4, steps=4)
    assert (small - large).norm() <= 1e-6 * large.norm()


def test_uneven_micro_batches_count_by_their_size():
    large, _ = trained(built("Equal"), batch_size=50, steps=1)
    small, diary = trained(built("Equal"), batch_size=7, steps=8)
    assert [report.micro_step for report in diary.steps] == [8, 16], "seven of 7 and one of 1"
    assert (small - large).norm() <= 1e-12 * large.norm()
