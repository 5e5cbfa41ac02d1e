"""Deciding in the space of a shared representation."""

import pytest
import torch
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.errors import StrategyError


def forward(model, data):
    features = model.trunk(data[0])
    losses = {
        task: 10.0**i * (head(features) - data[1][:, i : i + 1]).square().mean()
        for i, (task, head) in enumerate(model.heads.items())
    }
    return features, losses


def test_gram_is_that_of_the_features_and_the_trunk_runs_once():
    model, data = Toy(), batch()
    features, losses = forward(model, data)
    rows = torch.stack([torch.autograd.grad(v, features, retain_graph=True)[0].reshape(-1) for v in losses.values()])
    coefficients = dict(zip(losses, (1 / rows.norm(dim=1)).tolist(), strict=True))
    expected = expected_gradients(model, losses, coefficients)
    model.backward_passes = 0
    step = Engine(InverseNorm(), model, gram_on="features").backward(losses, features=features)
    assert model.backward_passes == 1
    assert step.space == "features"
    assert step.gram == pytest.approx((rows @ rows.T).numpy(), rel=1e-11)
    assert step.weights == pytest.approx(coefficients, rel=1e-12)
    assert_gradients(model, expected)


def test_micro_batches_equal_the_large_batch():
    large, small = Toy(), Toy()
    data = batch(12)
    features, losses = forward(large, data)
    whole = Engine(InverseNorm(), large, gram_on="features").backward(losses, features=features)
    engine = Engine(InverseNorm(), small, gram_on="features")
    for part in range(3):
        rows = slice(4 * part, 4 * part + 4)
        features, losses = forward(small, (data[0][rows], data[1][rows]))
        step = engine.backward({t: v / 3 for t, v in losses.items()}, features=features, accumulate=part < 2)
    assert step.weights == pytest.approx(whole.weights, rel=1e-12)
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad)


def test_reuse_steps_and_grad_that_was_there():
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=5), model, gram_on="features")
    features, losses = forward(model, data)
    weights = engine.backward(losses, features=features).weights
    for parameter in model.parameters():
        parameter.grad = None if parameter.grad is None else torch.ones_like(parameter)
    features, losses = forward(model, data)
    expected = expected_gradients(model, losses, weights)
    step = engine.backward(losses, features=features)
    assert not step.refreshed
    assert_gradients(model, {n: None if g is None else g + 1 for n, g in expected.items()})


@pytest.mark.parametrize("policy", ["skip", "drop"])
def test_non_finite_task(policy):
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(), model, gram_on="features", nonfinite=policy)
    features, losses = forward(model, data)
    losses["b"] = losses["b"] * float("nan")
    step = engine.backward(losses, features=features)
    if policy == "skip":
        assert "'b'" in step.skipped
        assert all(p.grad is None for p in model.parameters())
    else:
        del losses["b"]
        clear(model)
        features, losses = forward(model, data)
        del losses["b"]
        expected = expected_gradients(model, losses, step.weights)
        other = Engine(InverseNorm(), model, gram_on="features").backward(losses, features=features)
        assert other.weights == step.weights
        assert_gradients(model, expected)


def test_mistakes_are_told():
    model, data = Toy(), batch()
    features, losses = forward(model, data)
    with pytest.raises(StrategyError, match="needs the shared representation"):
        Engine(InverseNorm(), model, gram_on="features").backward(losses)
    with pytest.raises(StrategyError, match="no effect"):
        Engine(InverseNorm(), model).backward(losses, features=features)
    losses["a"] = losses["a"] + model.trunk[0].weight.square().sum()
    with pytest.raises(StrategyError, match="used in another way"):
        Engine(InverseNorm(), model, gram_on="features").backward(losses, features=features)


def test_features_that_lie_behind_one_another_are_refused():
    """What a loss owes to the first one through the second would count twice."""
    model, (inputs, targets) = Toy(), batch()
    first = model.trunk[:2](inputs)
    features = model.trunk[2:](first)
    losses = {task: (head(features) - targets[:, :1]).square().mean() for task, head in model.heads.items()}
    losses["a"] = losses["a"] + first.square().mean()
    engine = Engine(InverseNorm(), model, gram_on="features")
    with pytest.raises(StrategyError, match="computed from another one"):
        engine.backward(losses, features=[first, features])
    assert model.trunk[0].weight.grad is None
