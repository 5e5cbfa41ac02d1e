"""Three ways to the same gradients in a step whose coefficients are known: each where it is exact and cheap."""

import pytest
import torch
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine import frontier
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.rows import add_to_grad
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.terms import named_terms

TASKS = ("a", "b", "c")


@pytest.fixture
def ways(monkeypatch):
    """What was done beside one plain backward pass."""
    found = []
    for name in ("_rescale", "_scale_entries"):
        whole = getattr(frontier, name)
        monkeypatch.setattr(frontier, name, lambda *given, n=name, f=whole: (found.append(n), f(*given))[1])
    return found


def learned(model):
    """Who reaches what, as a refresh tells it."""
    sharing = Sharing(dict(model.named_parameters()), None)
    sharing.closed = True
    sharing.learn({task: [*model.trunk.parameters(), *model.heads[task].parameters()] for task in TASKS})
    return sharing


def run(model, losses, shared, own):
    add_to_grad(frontier.backward_known(named_terms(losses, None), shared, own, learned(model), 1.0))


@pytest.mark.parametrize(
    ("shared", "own", "way", "passes"),
    [
        ((0.3, 2.0, 5.0), (0.3, 2.0, 5.0), [], 1),
        ((0.3, 2.0, 5.0), (1.0, 1.0, 1.0), ["_rescale"], 1),
        ((0.3, -2.0, 5.0), (1.0, 0.5, 1.0), ["_rescale"], 1),
        ((0.0, 2.0, 5.0), (1.0, 1.0, 1.0), ["_scale_entries"], 1),
        ((1e-6, 2.0, 5.0), (1.0, 1.0, 1.0), ["_scale_entries"], 1),
        ((1e6, 2.0, 5.0), (1.0, 1.0, 1.0), ["_scale_entries"], 1),
        ((0.3, 2.0, 5.0), (0.0, 1.0, 1.0), [], 2),
    ],
)
def test_all_ways_give_the_same_gradients(ways, shared, own, way, passes):
    model, data = Toy(), batch()
    run(model, model.losses(*data), shared, own)
    assert ways == way
    assert model.backward_passes == passes
    factors = (dict(zip(TASKS, each, strict=True)) for each in (shared, own))
    assert_gradients(model, expected_gradients(model, model.losses(*data), *factors))


def test_large_heads_are_not_multiplied_afterwards(ways, monkeypatch):
    model, data = Toy(), batch()
    monkeypatch.setattr(frontier, "FEW", 10)
    run(model, model.losses(*data), (0.3, 2.0, 5.0), (1.0, 1.0, 1.0))
    assert ways == ["_scale_entries"]
    weights = dict(zip(TASKS, (0.3, 2.0, 5.0), strict=True))
    assert_gradients(model, expected_gradients(model, model.losses(*data), weights))


def test_a_loss_in_a_coarser_type_than_its_parameters_starts_with_one(ways):
    """0.3 in float32 is off by 1e-8, which float64 gradients would show."""
    model, data = Toy(), batch()
    coarse = {task: loss.float() for task, loss in model.losses(*data).items()}
    run(model, coarse, (0.3, 2.0, 5.0), (1.0, 1.0, 1.0))
    assert ways == ["_scale_entries"]
    weights = dict(zip(TASKS, (0.3, 2.0, 5.0), strict=True))
    assert_gradients(model, expected_gradients(model, model.losses(*data), weights))


def test_a_head_that_another_task_comes_to_use_takes_two_passes(ways):
    """Until a refresh it is its first owner's, with the plain gradients of both."""
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(*data))
    clear(model)
    losses = model.losses(*data)
    losses["b"] = losses["b"] + model.heads["a"](model.trunk(data[0])).square().mean()
    model.backward_passes = 0
    engine.backward(losses)
    assert ways == []
    assert model.backward_passes == 2
    weight = model.heads["a"][0].weight
    again = model.losses(*data)
    again["b"] = again["b"] + model.heads["a"](model.trunk(data[0])).square().mean()
    torch.testing.assert_close(weight.grad, torch.autograd.grad(sum(again.values()), weight)[0])
