"""NTKMTL: equal largest eigenvalues of the weighted kernels."""

import numpy as np
import pytest
import torch
from stateful_values import observe
from toy import Toy, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.modo import MoDo
from coral_mtl.engine.gradient_strategies.ntkmtl import NTKMTL
from coral_mtl.errors import StrategyError


def weights_of(gradients):
    return NTKMTL().decide(observe(gradients)).coefficients


def test_weighted_kernels_are_equal_and_keep_their_mean():
    G = np.random.default_rng(0).standard_normal((5, 8)) * np.logspace(-3, 3, 5)[:, None]
    eigenvalues = np.array([np.linalg.eigvalsh(g[None] @ g[None].T)[-1] for g in G])
    np.testing.assert_allclose(weights_of(G) ** 2 * eigenvalues, eigenvalues.mean(), rtol=1e-12)


def test_the_direction_is_the_sum_of_unit_gradients_at_their_root_mean_square():
    G = np.array([[3.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(weights_of(G) @ G, np.sqrt(12.5) * np.ones(2))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_gradients_of_one_length_are_summed_up(scale):
    np.testing.assert_allclose(weights_of(scale * np.eye(3)), np.ones(3), rtol=1e-14)


def test_scales_far_apart():
    G = np.diag([1e-12, 1.0, 1e12])
    np.testing.assert_allclose(weights_of(G) @ G, np.full(3, 1e12 / np.sqrt(3)), rtol=1e-12)


def engine_step(engine, model, parts, targets, scaler=None):
    """One step of as many micro-batches; features where the engine looks there."""
    clear(model)
    for index, part in enumerate(parts):
        features = model.trunk(part)
        losses = {
            task: 10.0**i * (head(features) - targets[index][:, i : i + 1]).square().mean() / len(parts)
            for i, (task, head) in enumerate(model.heads.items())
        }
        given = features if engine.gram_on == "features" else None
        account = engine.backward(losses, accumulate=index < len(parts) - 1, features=given, scaler=scaler)
    return account


def kernels_by_hand(model, parts, targets, space):
    """(T,) largest eigenvalues, from one gradient per task and part, by autograd."""
    rows = {task: [] for task in model.heads}
    for part, target in zip(parts, targets, strict=True):
        z = model.trunk(part)
        for i, (task, head) in enumerate(model.heads.items()):
            loss = 10.0**i * (head(z) - target[:, i : i + 1]).square().mean()
            wanted = [z] if space == "features" else list(model.trunk.parameters())
            gradient = torch.autograd.grad(loss, wanted, retain_graph=True)
            rows[task].append(torch.cat([g.reshape(-1) for g in gradient]))
    if space == "features":  # every part has a representation of its own
        return np.array([max(float(row.square().sum()) for row in found) for found in rows.values()])
    return np.array([float(torch.linalg.eigvalsh(torch.stack(f) @ torch.stack(f).T)[-1]) for f in rows.values()])


@pytest.mark.parametrize("scale", [None, 2.0**10])
@pytest.mark.parametrize("space", ["parameters", "features"])
def test_kernels_of_several_mini_batches(space, scale):
    model, (inputs, targets) = Toy(), batch(12)
    parts, target_parts = inputs.split(4), targets.split(4)
    eigenvalues = kernels_by_hand(model, parts, target_parts, space)
    engine = Engine(NTKMTL(batches=3), model, gram_on=space)
    scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
    step = engine_step(engine, model, parts, target_parts, scaler)
    np.testing.assert_allclose(list(step.weights.values()), np.sqrt(eigenvalues.mean() / eigenvalues), rtol=1e-10)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    expected = expected_gradients(model, model.losses(inputs, targets), step.weights)
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient * (scale or 1.0), rtol=1e-9, atol=1e-9)


def test_too_few_mini_batches_are_told():
    model, (inputs, targets) = Toy(), batch(12)
    for space in ("parameters", "features"):
        with pytest.raises(StrategyError, match="needs 3 independent batches a step and was given 2"):
            engine_step(Engine(NTKMTL(batches=3), model, gram_on=space), model, inputs.split(6), targets.split(6))


def test_other_strategies_of_several_batches_stay_off_the_features():
    with pytest.raises(StrategyError, match="MoDo works on parameters' gradients"):
        Engine(MoDo(), Toy(), gram_on="features")
