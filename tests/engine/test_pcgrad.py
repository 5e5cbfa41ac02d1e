"""PCGrad: the paper's rule on coordinates, recorded orders, two tasks in closed form, three ways of use."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_values import GRADIENTS

from coral_mtl import registry
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.pcgrad import PCGrad, PCGradOptimizer, project_conflicts
from coral_mtl.engine.stack import Stack
from coral_mtl.errors import StrategyError
from coral_mtl.options import options_of

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "loss_weighting_and_pcgrad.json").read_text())
RECORDED = [e for e in REFERENCE["values"] if e["strategy"] == "PCGrad" and "orders" in e["params"]]
TOY = [e for e in REFERENCE["values"] if e["strategy"] == "PCGrad" and "orders" not in e["params"]]


def names(count):
    return tuple(f"task_{i}" for i in range(count))


def observe(G, tasks=None):
    return Observation(tasks or names(len(G)), np.ones(len(G)), G @ G.T)


def on_coordinates(G, orders):
    """The paper's algorithm 1, on the gradients themselves."""
    projected = G.copy()
    for i, order in enumerate(orders):
        for j in order:
            product = projected[i] @ G[j]
            if product < 0:
                projected[i] -= product / (G[j] @ G[j]) * G[j]
    return projected


def all_orders(count, generator):
    return np.array([generator.permutation([j for j in range(count) if j != i]) for i in range(count)])


@pytest.mark.parametrize("entry", RECORDED, ids=lambda e: e["case"])
def test_recorded_orders_give_the_recorded_weights(entry):
    G = np.array(GRADIENTS["cases"][entry["case"]]["G"])
    coefficients = project_conflicts(G @ G.T, np.array(entry["params"]["orders"])).sum(axis=0)
    np.testing.assert_allclose(coefficients, entry["output"]["weights"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(coefficients @ G, entry["output"]["direction"], rtol=1e-9, atol=1e-9 * np.abs(G).max())


@pytest.mark.parametrize("entry", TOY, ids=lambda e: e["case"])
def test_mean_of_two_tasks_is_the_official_toy(entry):
    G = np.array(GRADIENTS["cases"][entry["case"]]["G"])
    direction = PCGrad().decide(observe(G)).coefficients @ G
    np.testing.assert_allclose(direction, entry["output"]["direction"], rtol=1e-9, atol=1e-9 * np.abs(G).max())


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("conflict", [0.0, 0.9, 1.0])
def test_projection_agrees_with_the_rule_on_coordinates(count, conflict):
    generator = np.random.default_rng(count)
    for _ in range(10):
        G = generator.normal(size=(count, 40))
        G = (G - conflict * G.mean(axis=0) * (count > 1)) * np.exp(generator.uniform(-5, 5, (count, 1)))
        orders = all_orders(count, generator)
        error = project_conflicts(G @ G.T, orders) @ G - on_coordinates(G, orders)
        assert (np.linalg.norm(error, axis=1) <= 1e-12 * np.linalg.norm(G, axis=1)).all()


def test_two_tasks_in_closed_form_without_conflict_left():
    generator = np.random.default_rng(0)
    for _ in range(50):
        G = generator.normal(size=(2, 3)) * [[1.0], [1e4]]
        M = G @ G.T
        weights = PCGrad(reduction="sum").decide(observe(G)).coefficients
        m = min(M[0, 1], 0.0)
        np.testing.assert_allclose(weights, [1 - m / M[0, 0], 1 - m / M[1, 1]], rtol=1e-13)
        assert (M @ weights >= -1e-9 * np.linalg.norm(weights @ G) * np.sqrt(np.diag(M))).all()


def test_never_projects_on_itself():
    """p_1 = -10 g_1 after two projections here: a visit to itself would remove it."""
    G = np.array([[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]])
    coefficients = project_conflicts(G @ G.T, np.array([[1, 2], [0, 2], [0, 1]]))
    assert np.diag(coefficients).tolist() == [1.0, 1.0, 1.0]
    assert (coefficients >= 0).all()


def test_gradients_of_zero_are_passed_over():
    G = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0]])
    coefficients = project_conflicts(G @ G.T, np.array([[1, 2], [0, 2], [1, 0]]))
    assert coefficients.tolist() == [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


def test_reductions_differ_by_the_number_of_tasks():
    G = np.random.default_rng(0).normal(size=(5, 6))
    total, mean = (PCGrad(reduction=r, seed=3).decide(observe(G)).coefficients for r in ("sum", "mean"))
    np.testing.assert_allclose(total, 5 * mean, rtol=1e-14)
    assert np.array_equal(PCGrad().decide(observe(np.eye(4))).coefficients, np.full(4, 0.25))


def test_orders_are_uniform_without_the_task_itself():
    strategy = PCGrad(seed=1)
    counts = {}
    for _ in range(6000):
        orders = strategy._generator.visiting_orders(4)
        assert all(i not in orders[i] for i in range(4))
        key = tuple(orders[2].tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * np.sqrt(1000) for count in counts.values())
    assert PCGrad()._generator.visiting_orders(1).shape == (1, 0)


def test_draws_from_a_generator_of_its_own():
    G = np.random.default_rng(1).normal(size=(6, 4))
    G -= G.mean(axis=0)

    def sequence(seed):
        strategy = PCGrad(seed=seed)
        return [strategy.decide(observe(G)).coefficients.tolist() for _ in range(5)]

    torch.manual_seed(0)
    first = sequence(7)
    torch.manual_seed(1)
    assert sequence(7) == first
    assert sequence(8) != first
    assert first[0] != first[1]


@pytest.mark.parametrize("update_frequency", [1, 3])
@pytest.mark.parametrize("cut", [1, 4, 6])
def test_resumes_from_a_file_bit_for_bit(update_frequency, cut):
    generator = np.random.default_rng(2)
    steps = []
    for step in range(12):
        chosen = [0, 1, 2, 3] if step % 4 else [3, 1, 0]
        G = generator.normal(size=(len(chosen), 3))
        steps.append(observe(G, tuple(f"t{i}" for i in chosen)))
    whole = PCGrad(update_frequency=update_frequency)
    wanted = [whole.decide(o).coefficients.tolist() for o in steps]
    first = PCGrad(update_frequency=update_frequency)
    for observation in steps[:cut]:
        first.decide(observation)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    resumed = PCGrad(update_frequency=update_frequency)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert [resumed.decide(o).coefficients.tolist() for o in steps[cut:]] == wanted[cut:]
    whole.reset()
    assert [whole.decide(o).coefficients.tolist() for o in steps] == wanted


def test_reuse_draws_no_orders_and_goes_by_name():
    G = np.random.default_rng(3).normal(size=(4, 2))
    strategy = PCGrad(update_frequency=2)
    fresh = dict(zip("abcd", strategy.decide(observe(G, tuple("abcd"))).coefficients, strict=True))
    before = strategy.state_dict()["generator"]["state"]
    assert strategy.needs_now(("c", "a")) is Needs.NOTHING
    reused = strategy.decide(Observation(("c", "a"), np.ones(2)))
    assert reused.coefficients.tolist() == [fresh["c"], fresh["a"]]
    assert not reused.refreshed
    assert torch.equal(strategy.state_dict()["generator"]["state"], before)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = torch.nn.Linear(4, 6).double()
        self.heads = torch.nn.ModuleDict({task: torch.nn.Linear(6, 1).double() for task in ("a", "b")})

    def losses(self, inputs):
        features = torch.tanh(self.trunk(inputs))
        a, b = (self.heads[task](features).square().mean() for task in ("a", "b"))
        return {"a": a, "b": 7 * (1 - features.square()).mean() + b - 0.5 * a.detach() * features.mean()}


def batch(seed):
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grads(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def test_around_an_optimiser_it_is_the_strategy():
    model, twin = Model(), Model()
    wrapped = PCGrad(torch.optim.Adam(model.parameters(), lr=0.01), reduction="sum")
    assert isinstance(wrapped, PCGradOptimizer)
    engine = Engine(PCGrad(reduction="sum"), twin)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    for seed in range(6):
        wrapped.zero_grad()
        optimizer.zero_grad()
        step = wrapped.backward(model.losses(batch(seed)))
        engine.backward(twin.losses(batch(seed)))
        assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
        assert step.cosines.keys() == {"a_vs_b"}
        wrapped.step()
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert wrapped.param_groups is wrapped.optimizer.param_groups
    wrapped.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_around_an_optimiser_by_hand():
    """Two conflicting tasks: shared parameters get the closed form, heads their own gradient."""
    model = Model()
    losses = {"a": (s := torch.tanh(model.trunk(batch(0)))).sum() + model.heads["a"](s).mean(), "b": -2 * s.sum()}
    shared = list(model.trunk.parameters())
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in losses.values()
    ]
    m = torch.dot(*flat)
    assert m < 0
    own = torch.autograd.grad(losses["a"], model.heads["a"].weight, retain_graph=True)[0]
    PCGrad(torch.optim.SGD(model.parameters(), lr=1.0)).backward(losses)
    wanted = 0.5 * ((1 - m / flat[0].square().sum()) * flat[0] + (1 - m / flat[1].square().sum()) * flat[1])
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in shared]), wanted)
    torch.testing.assert_close(model.heads["a"].weight.grad, own)


def test_wrapped_optimiser_resumes_bit_for_bit():
    def build():
        model = Model()
        return model, PCGrad(torch.optim.AdamW(model.parameters(), lr=0.01), update_frequency=2)

    def train(model, optimizer, seeds):
        for seed in seeds:
            optimizer.zero_grad()
            optimizer.backward(model.losses(batch(seed)))
            optimizer.step()

    model, optimizer = build()
    train(model, optimizer, range(3))
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    train(model, optimizer, range(3, 7))
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other, resumed = build()
    other.load_state_dict(state["model"])
    resumed.load_state_dict(state["optimizer"])
    train(other, resumed, range(3, 7))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_over_a_loss_weighting():
    """Effective coefficients are w_t c_t, with c from the gradients of the weighted losses."""
    G = np.random.default_rng(5).normal(size=(3, 2))
    weights = np.array([1.0, 10.0, 0.1])
    tasks = ("x", "y", "z")
    stack = Stack(Static(weights=dict(zip(tasks, weights, strict=True))), PCGrad(seed=2))
    decision = stack.decide(observe(G, tasks))
    above = PCGrad(seed=2).decide(observe(weights[:, None] * G, tasks))
    np.testing.assert_allclose(decision.coefficients, weights * above.coefficients, rtol=1e-14)
    np.testing.assert_array_equal(decision.head_coefficients, weights)


def test_under_it_the_log_variances_learn_from_their_own_objective():
    """Uncertainty + PCGrad on losses that stay: every weight still settles at 1/(2 l)."""
    anchor = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    losses = {"left": 0.1, "right": 30.0}
    engine = Engine(Stack(Uncertainty(), PCGrad()), [anchor], tasks=["left", "right"])
    optimizer = torch.optim.SGD([{"params": [anchor], "lr": 0.0}, *engine.parameter_groups()], lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        step = engine.backward({"left": losses["left"] + anchor.sum(), "right": losses["right"] - anchor[0]})
        optimizer.step()
    assert step.head_weights == pytest.approx({task: 1 / (2 * loss) for task, loss in losses.items()}, rel=1e-6)
    assert step.weights["left"] > step.head_weights["left"] / 2, "the conflict was projected out"


def test_options_are_those_of_the_strategy_alone():
    assert list(options_of(PCGrad)) == ["reduction", "seed", "update_frequency"]
    assert registry.strategies.get("pcgrad") is PCGrad
    built = PCGrad(reduction="sum", seed=4)
    assert isinstance(built, PCGrad)
    assert (built.reduction, built.seed, built.update_frequency) == ("sum", 4, 1)


@pytest.mark.parametrize("options", [{"reduction": "avg"}, {"seed": -1}, {"update_frequency": 0}, {"shuffle": True}])
def test_wrong_options_are_named_in_both_ways_of_use(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for arguments in ((), (optimizer,)):
        with pytest.raises((StrategyError, TypeError), match=next(iter(options))):
            PCGrad(*arguments, **options)


def test_what_is_no_optimiser_is_refused():
    with pytest.raises(StrategyError, match="torch optimiser"):
        PCGrad([1, 2])
