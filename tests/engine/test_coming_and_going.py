"""Tasks, leaves and parameters that come and go between steps and within one."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from toy import Fixed, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients, plain_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.gradient_strategies.moco import MoCo
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.loss_weighting.random import Random
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.errors import StrategyError, TrainingError

ALL, WITHOUT_B = ("a", "b", "c"), ("a", "c")


def half_losses(model, names):
    return {task: loss / 2 for task, loss in model.losses(*batch()).items() if task in names}


def two_micro_batches(strategy, first, second, **options):
    """The gradients and the account of a step of two micro-batches with these tasks."""
    model = Toy()
    engine = Engine(strategy, model, tasks=ALL, **options)
    engine.backward(half_losses(model, first), accumulate=True)
    return model, engine.backward(half_losses(model, second))


@pytest.mark.parametrize("build", [Uncertainty, lambda: Random(seed=3), Equal])
def test_the_order_of_micro_batches_with_different_tasks_does_not_matter(build):
    strategies = build(), build()
    one, step = two_micro_batches(strategies[0], ALL, WITHOUT_B)
    other, same = two_micro_batches(strategies[1], WITHOUT_B, ALL)
    assert step.weights == pytest.approx(same.weights, rel=1e-12)
    assert step.inactive == same.inactive == {}
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, msg=name)
    for left, right in zip(*(strategy.parameters() for strategy in strategies), strict=True):
        assert left.grad is not None
        torch.testing.assert_close(left.grad, right.grad)


def test_random_weights_are_those_of_the_run_whatever_tasks_a_micro_batch_has():
    strategy = Random(seed=3)
    model, step = two_micro_batches(strategy, ALL, WITHOUT_B)
    assert sum(step.weights.values()) == pytest.approx(1.0)
    whole = {task: loss * (0.5 if task == "b" else 1.0) for task, loss in model.losses(*batch()).items()}
    assert_gradients(model, expected_gradients(model, whole, step.weights, step.weights))


def test_a_loss_that_was_not_finite_under_a_scaler_skips_though_its_task_is_gone():
    model = Toy(dtype=torch.float32)
    engine, scaler = Engine(Uncertainty(), model, tasks=ALL), GradScaler("cpu")
    data = batch(dtype=torch.float32)
    losses = model.losses(*data)
    engine.backward(losses | {"b": losses["b"] * float("nan")}, scaler=scaler, accumulate=True)
    losses = model.losses(*data)
    step = engine.backward({task: losses[task] for task in WITHOUT_B}, scaler=scaler)
    assert "'b'" in step.skipped


def test_a_task_refused_after_its_gradient_was_added_up_skips_the_step():
    model = Toy()
    engine = Engine(Fixed(dict.fromkeys(ALL, 1.0)), model, nonfinite="drop")
    engine.backward(half_losses(model, ALL), accumulate=True)
    losses = half_losses(model, ALL)
    step = engine.backward(losses | {"b": losses["b"] * float("nan")})
    assert step.skipped
    assert all(p.grad is None for p in model.parameters())


def test_an_empty_micro_batch_of_an_accumulated_step_adds_nothing():
    model = Toy()
    engine = Engine(InverseNorm(), model)
    engine.backward(model.losses(*batch()), accumulate=True)
    assert engine.backward({}, accumulate=True).accumulating
    step = engine.backward({})
    assert_gradients(model, expected_gradients(model, model.losses(*batch()), step.weights))
    with pytest.raises(StrategyError, match="no losses were given"):
        engine.backward({})


def test_raising_leaves_the_strategy_where_it_was():
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=3), model, nonfinite="raise")
    engine.backward(model.losses(*batch()))
    before = engine.state_dict()
    handle = model.trunk[0].weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError):
        engine.backward(model.losses(*batch()))
    handle.remove()
    assert engine.state_dict()["strategy"] == before["strategy"]


@pytest.mark.parametrize("known", [True, False], ids=["a module", "no module"])
def test_an_overflow_is_shown_to_every_optimiser(known):
    model = Toy(dtype=torch.float32)
    engine, scaler = Engine(MGDA(), model if known else ()), GradScaler("cpu")
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.trunk, model.heads)]
    before = [p.clone() for p in model.parameters()]
    losses = model.losses(*batch(dtype=torch.float32))
    assert engine.backward(losses | {"b": losses["b"] * float("nan")}, scaler=scaler).skipped
    for optimizer in optimizers:
        scaler.step(optimizer)
    scale = scaler.get_scale()
    scaler.update()
    assert scaler.get_scale() == scale / 2
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("update_frequency", [1, 9])
def test_an_input_that_requires_a_gradient_from_some_step_on_gets_the_direction(update_frequency):
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=update_frequency), model)
    inputs, targets = batch()
    for _ in range(2):
        engine.backward(model.losses(inputs, targets))
    inputs.requires_grad_()
    step = engine.backward(model.losses(inputs, targets))
    losses = model.losses(inputs, targets)
    rows = {t: torch.autograd.grad(loss, inputs, retain_graph=True)[0] for t, loss in losses.items()}
    torch.testing.assert_close(inputs.grad, sum(step.weights[t] * row for t, row in rows.items()))


@pytest.mark.parametrize("update_frequency", [1, 9])
def test_a_module_that_is_put_into_the_trunk_later_gets_the_direction(update_frequency):
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=update_frequency), model)
    engine.backward(model.losses(*batch()))
    model.trunk.append(nn.Linear(6, 6, dtype=torch.float64))
    clear(model)
    step = engine.backward(model.losses(*batch()))
    assert_gradients(model, expected_gradients(model, model.losses(*batch()), step.weights))


class Necked(Toy):
    """A trunk, a neck that all heads share, and heads; the features are the trunk's."""

    def __init__(self):
        super().__init__()
        self.neck = nn.Sequential(nn.Linear(6, 6), nn.Tanh()).double()

    def parts(self, names=ALL):
        features = self.trunk(batch()[0])
        beyond = self.neck(features)
        targets = batch()[1]
        return features, {
            task: 10.0**i * (head(beyond) - targets[:, i : i + 1]).square().mean()
            for i, (task, head) in enumerate(self.heads.items())
            if task in names
        }


@pytest.mark.parametrize("names", [ALL, ("a",)], ids=["all tasks", "one task"])
def test_steps_that_reuse_a_decision_on_features_treat_everything_as_the_refresh_did(names):
    model = Necked()
    engine = Engine(InverseNorm(update_frequency=9), model, gram_on="features")
    features, losses = model.parts()
    weights = engine.backward(losses, features=features).weights
    restored = Engine(InverseNorm(update_frequency=9), model, gram_on="features")
    restored.load_state_dict(engine.state_dict())
    for each in (engine, restored):
        clear(model)
        features, losses = model.parts(names)
        assert not each.backward(losses, features=features).refreshed
        rows = {task: plain_gradients(model, loss) for task, loss in model.parts(names)[1].items()}
        for name, parameter in model.named_parameters():
            factors = weights if name.startswith("trunk") else dict.fromkeys(ALL, 1.0)
            found = [factors[task] * row[name] for task, row in rows.items() if row[name] is not None]
            if found:
                torch.testing.assert_close(parameter.grad, sum(found), msg=name)


def test_shared_parameters_and_features_exclude_each_other():
    model = Toy()
    with pytest.raises(StrategyError, match=r"shared= has no effect with gram_on=\"features\""):
        Engine(MGDA(), model, gram_on="features", shared=model.trunk.parameters())


def test_leaves_that_the_model_does_not_know_have_names_of_their_own():
    first, second = (torch.ones(n, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    engine = Engine(MoCo())
    for _ in range(2):
        first.grad = second.grad = None
        step = engine.backward({"a": first.sum() + second.square().sum(), "b": first.square().sum() + second.sum()})
    assert np.isfinite(list(step.weights.values())).all()
    assert first.grad.shape == (2,)
    assert second.grad.shape == (3,)
