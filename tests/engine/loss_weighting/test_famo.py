"""FAMO: two sources of the losses after a step, Adam against torch's, absent tasks."""

import itertools

import numpy as np
import pytest
import torch
from toy import Toy, batch

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.loss_weighting.famo import FAMO
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError


def observe(**losses):
    return Observation(tuple(losses), np.array(list(losses.values()), dtype=float))


def test_logits_follow_torchs_adam():
    """A second route: torch autograd through the softmax, torch's Adam with weight decay."""
    generator = np.random.default_rng(0)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1, weight_decay=0.05)
    strategy = FAMO(lr=0.1, gamma=0.05, losses_after="forward")
    for _ in range(30):
        before, after = generator.uniform(0.1, 5.0, (2, 3))
        shares = torch.softmax(logits, 0)
        distances = torch.tensor(before) + 1e-8
        wanted = (shares / distances / (shares / distances).sum()).detach().numpy()
        decision = strategy.decide(observe(a=before[0], b=before[1], c=before[2]))
        np.testing.assert_allclose(decision.coefficients, wanted, rtol=1e-12)
        strategy.observe_after(observe(a=after[0], b=after[1], c=after[2]))
        delta = distances.log() - (torch.tensor(after) + 1e-8).log()
        logits.grad = torch.autograd.grad(shares, logits, delta)[0]
        optimizer.step()


def test_a_task_that_improved_more_gets_less():
    strategy = FAMO(losses_after="forward")
    for _ in range(20):
        strategy.decide(observe(fast=1.0, slow=1.0))
        strategy.observe_after(observe(fast=0.5, slow=0.9))
    fast, slow = strategy.decide(observe(fast=1.0, slow=1.0)).coefficients
    assert fast < slow


def test_next_batch_can_stand_in_for_the_same_batch():
    forward, following = FAMO(losses_after="forward"), FAMO()
    losses = [{"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 1.9}, {"a": 0.4, "b": 1.0}]
    for now, then in itertools.pairwise(losses):
        np.testing.assert_array_equal(
            forward.decide(observe(**now)).coefficients, following.decide(observe(**now)).coefficients
        )
        forward.observe_after(observe(**then))
    assert not following.wants_losses_after
    assert forward.wants_losses_after


def test_forward_without_the_losses_after_is_an_error_that_says_what_to_do():
    strategy = FAMO(losses_after="forward")
    strategy.decide(observe(a=1.0, b=2.0))
    with pytest.raises(StrategyError, match="observe_after"):
        strategy.decide(observe(a=1.0, b=2.0))
    strategy.observe_after(observe(a=0.9, b=1.9))
    strategy.decide(observe(a=1.0, b=2.0))
    with pytest.raises(StrategyError, match="observe_after"):
        strategy.decide(observe(a=1.0, b=2.0))


def test_a_step_that_was_skipped_asks_for_no_losses_after():
    """A finite loss with a gradient that is not: the weights were chosen before that showed."""
    model = Toy(("a", "b"))
    engine = Engine(FAMO(losses_after="forward"), model)
    losses = model.losses(*batch())
    engine.backward(losses)
    engine.observe_after({task: 0.9 * loss for task, loss in losses.items()})
    losses = model.losses(*batch())
    infinite = next(model.heads["a"].parameters()).square().sum()
    step = engine.backward(losses | {"a": losses["a"] + (infinite - infinite.detach()).sqrt()})
    assert "non-finite gradient" in step.skipped
    assert engine.backward(model.losses(*batch())).skipped is None


def test_a_task_that_skips_a_batch_is_compared_with_its_own_last_loss():
    strategy = FAMO()
    strategy.decide(observe(a=1.0, b=2.0, c=3.0))
    strategy.decide(observe(a=0.9, b=1.0))
    kept = strategy.state_dict()["logits"]
    assert set(kept) == {"a", "b"}
    strategy.decide(observe(b=0.9, c=2.9))
    logits = strategy.state_dict()["logits"]
    assert logits["a"] == kept["a"]
    assert logits["c"] > logits["b"], "c fell by 3 %, b by 10 % against its own last loss"
