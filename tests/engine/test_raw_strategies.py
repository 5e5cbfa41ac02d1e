"""The strategies that work on coordinates, in the engine: real models, heads, micro-batches, scalers."""

import numpy as np
import pytest
import torch
from gradient_families import relative_difference
from stateful_values import through_a_file
from torch.amp.grad_scaler import GradScaler
from toy import Toy, batch, clear, plain_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.db_mtl import DBMTL
from coral_mtl.engine.gradient_strategies.excess_mtl import ExcessMTL
from coral_mtl.engine.gradient_strategies.grad_drop import GradDrop, drop_signs
from coral_mtl.engine.gradient_strategies.grad_vac import GradVac, vaccinate
from coral_mtl.engine.gradient_strategies.moco import MoCo
from coral_mtl.engine.gradient_strategies.modo import MoDo
from coral_mtl.engine.gradient_strategies.sdmgrad import SDMGrad, descend_on_simplex
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.simplex import project_simplex
from coral_mtl.errors import StrategyError

SINGLE = {
    "GradDrop": GradDrop,
    "GradVac": lambda: GradVac(groups="layer"),
    "MoCo": MoCo,
    "ExcessMTL": lambda: ExcessMTL(lr=0.5),
    "DB-MTL": DBMTL,
}
DOUBLE = {"MoDo": lambda: MoDo(gamma=1e-3), "SDMGrad": SDMGrad}
scales = pytest.mark.parametrize("scale", [None, 2.0**14])


def trunk(model):
    return [name for name, _ in model.named_parameters() if name.startswith("trunk")]


def matrix_of(model, losses):
    """(T, D) gradients on the trunk from autograd, and the rows they came from."""
    rows = {task: plain_gradients(model, loss) for task, loss in losses.items()}
    return torch.stack([torch.cat([row[n].reshape(-1) for n in trunk(model)]) for row in rows.values()]).numpy(), rows


def shared_grad(model):
    return torch.cat([model.get_parameter(name).grad.reshape(-1) for name in trunk(model)]).numpy()


def descend(model):
    torch.optim.SGD(model.parameters(), lr=1e-3).step()


def step(engine, model, data, scale=None):
    """One step of an engine on whole batches, its micro-batches divided as always; returns gradients unscaled."""
    clear(model)
    scaler = None if scale is None else GradScaler("cpu", init_scale=scale)
    for index, part in enumerate(data):
        losses = {task: loss / len(data) for task, loss in model.losses(*part).items()}
        account = engine.backward(losses, accumulate=index < len(data) - 1, scaler=scaler)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= scale or 1.0
    return account


@scales
@pytest.mark.parametrize("name", SINGLE)
def test_the_direction_is_in_grad_and_heads_keep_their_own(name, scale):
    model = Toy()
    engine = Engine(SINGLE[name](), model)
    for seed in range(3):
        losses = model.losses(*batch(seed=seed))
        G, rows = matrix_of(model, losses)
        account = step(engine, model, [batch(seed=seed)], scale)
        direction = shared_grad(model)
        assert account.update_norm == pytest.approx(np.linalg.norm(direction), rel=1e-9)
        assert list(account.descent.values()) == pytest.approx((G @ direction).tolist(), rel=1e-7, abs=1e-9)
        for task, head_weight in account.head_weights.items():
            wanted = rows[task][f"heads.{task}.0.weight"] * head_weight
            torch.testing.assert_close(model.heads[task][0].weight.grad, wanted)
        expected = 1 / (account.losses["b"] + 1e-8) if name == "DB-MTL" else 1.0
        assert account.head_weights["b"] == pytest.approx(expected, rel=1e-12)


def test_grad_drop_drops_in_the_trunk():
    model = Toy()
    strategy = GradDrop(reduction="sum", seed=5)
    G, _ = matrix_of(model, model.losses(*batch()))
    shapes = [model.get_parameter(name) for name in trunk(model)]
    uniforms = torch.cat([u.reshape(-1) for u in strategy._uniforms(shapes)])
    strategy.reset()
    step(Engine(strategy, model), model, [batch()])
    wanted = drop_signs(list(torch.from_numpy(G)), uniforms.double(), [0.0] * 3).numpy()
    np.testing.assert_allclose(shared_grad(model), wanted, rtol=1e-10, atol=1e-14)


def test_grad_vac_by_layer():
    model = Toy()
    strategy = GradVac(groups="layer", reduction="sum")
    engine = Engine(strategy, model)
    step(engine, model, [batch(seed=1)])
    targets = {layer: t.numpy().copy() for layer, t in strategy.state_dict()["targets"].items()}
    assert set(targets) == {"trunk.0", "trunk.4"}
    state = strategy.state_dict()
    orders = strategy._generator.visiting_orders(3)
    strategy.load_state_dict(state)
    losses = model.losses(*batch(seed=2))
    rows = [plain_gradients(model, loss) for loss in losses.values()]
    step(engine, model, [batch(seed=2)])
    for layer, before in targets.items():
        G = torch.stack([torch.cat([row[f"{layer}.{p}"].reshape(-1) for p in ("weight", "bias")]) for row in rows])
        cosines, norms = cosine_matrix((G @ G.T).numpy())
        mixture, learned = vaccinate(cosines, norms > 0, before, orders, 0.01)
        found = torch.cat([model.get_parameter(f"{layer}.{p}").grad.reshape(-1) for p in ("weight", "bias")])
        np.testing.assert_allclose(found.numpy(), norms @ mixture / norms @ G.numpy(), rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(strategy.state_dict()["targets"][layer].numpy(), learned, rtol=1e-9)


def test_averages_over_steps():
    """MoCo and DB-MTL on a model that moves: Y by plain autograd."""
    for strategy in (MoCo(gamma=1e-3), DBMTL(beta=0.8)):
        model = Toy()
        engine = Engine(strategy, model)
        Y, weights = 0.0, np.full(3, 1 / 3)
        for seed in range(4):
            losses = model.losses(*batch(seed=seed))
            values = np.array([loss.item() for loss in losses.values()])
            G, _ = matrix_of(model, losses)
            step(engine, model, [batch(seed=seed)])
            if isinstance(strategy, MoCo):
                Y = 0.9 * Y + 0.1 * G
                weights = project_simplex(weights - 1e-3 * (Y @ Y.T + 0.1 * np.eye(3)) @ weights)
                wanted = weights @ Y
            else:
                Y = 0.8 * Y + 0.2 * G / (values + 1e-8)[:, None]
                norms = np.linalg.norm(Y, axis=1)
                wanted = norms.max() / norms @ Y
            assert relative_difference(shared_grad(model), wanted) <= 1e-10
            descend(model)


@scales
@pytest.mark.parametrize("parts", [2, 4])
def test_independent_batches_of_a_step(scale, parts):
    """Micro-batches are dealt to the two batches in turn; the direction is that of both together."""
    data = [batch(seed=seed) for seed in range(parts)]
    for strategy in (MoDo(gamma=1e-4), SDMGrad(lr=0.5)):
        model = Toy()
        matrices = [matrix_of(model, model.losses(*part))[0] for part in data]
        first, second = np.mean(matrices[::2], axis=0), np.mean(matrices[1::2], axis=0)
        cross, uniform = first @ second.T, np.full(3, 1 / 3)
        if isinstance(strategy, MoDo):
            coefficients = project_simplex(uniform - 1e-4 * (cross @ uniform + 0.1 * uniform))
        else:
            scaled = cross / np.mean(np.sqrt(np.maximum(cross.diagonal(), 0))) ** 2
            w = descend_on_simplex(scaled, uniform, 0.3 * uniform, lr=0.5, momentum=0.5, iterations=20)
            coefficients = (w + 0.3 * uniform) / 1.3
        account = step(Engine(strategy, model), model, data, scale)
        assert list(account.weights.values()) == pytest.approx(coefficients.tolist(), rel=1e-8, abs=1e-12)
        assert relative_difference(shared_grad(model), coefficients @ ((first + second) / 2)) <= 1e-8


@pytest.mark.parametrize("name", DOUBLE)
def test_one_batch_is_not_enough(name):
    model = Toy()
    with pytest.raises(StrategyError, match="needs 2 independent batches"):
        Engine(DOUBLE[name](), model).backward(model.losses(*batch()))


@pytest.mark.parametrize("name", SINGLE)
def test_micro_batches_equal_the_large_batch(name):
    large, small = Toy(), Toy()
    whole, parts = Engine(SINGLE[name](), large), Engine(SINGLE[name](), small)
    for seed in range(3):
        inputs, targets = batch(12, seed=seed)
        step(whole, large, [(inputs, targets)])
        step(parts, small, [(inputs[i : i + 4], targets[i : i + 4]) for i in (0, 4, 8)])
        assert relative_difference(shared_grad(small), shared_grad(large)) <= 1e-9


@pytest.mark.parametrize("name", SINGLE | DOUBLE)
def test_training_resumes_bit_for_bit_while_tasks_come_and_go(name):
    build = (SINGLE | DOUBLE)[name]
    presence = [("a", "b", "c"), ("c", "a"), ("a", "b", "c"), ("b", "c"), ("b", "c", "a")]

    def train(model, engine, seeds):
        for seed in seeds:
            clear(model)
            count = engine.strategy.batches
            for index in range(count):
                losses = model.losses(*batch(seed=10 * seed + index, dtype=torch.float32))
                chosen = {task: losses[task] / count for task in presence[seed % 5]}
                engine.backward(chosen, accumulate=index < count - 1)
            descend(model)

    model, other = Toy(dtype=torch.float32), Toy(seed=1, dtype=torch.float32)
    engine, resumed = Engine(build(), model), Engine(build(), other)
    train(model, engine, range(3))
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(through_a_file(engine.state_dict()))
    train(model, engine, range(3, 8))
    train(other, resumed, range(3, 8))
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
