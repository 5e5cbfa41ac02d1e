"""Steps whose coefficients are known: one pass with a frontier where that is exact, two where it is not."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine import frontier
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.observation import Decision
from coral_mtl.engine.rows import add_to_grad
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.engine.terms import named_terms

TASKS = ("a", "b", "c")


def learned(model):
    """Who reaches what, as a refresh tells it."""
    sharing = Sharing(dict(model.named_parameters()), None)
    sharing.closed = True
    sharing.learn({task: [*model.trunk.parameters(), *model.heads[task].parameters()] for task in TASKS})
    return sharing


@pytest.mark.parametrize(
    ("shared", "own", "passes"),
    [
        ((0.3, 2.0, 5.0), (0.3, 2.0, 5.0), 1),
        ((0.3, -2.0, 5.0), (1.0, 0.5, 1.0), 1),
        ((0.0, 2.0, 5.0), (1.0, 1.0, 1.0), 1),
        ((1e-9, 2.0, 5e9), (1.0, 1.0, 1.0), 1),
        ((0.3, 2.0, 5.0), (0.0, 1.0, 1.0), 2),
    ],
)
def test_any_factors_are_exact(shared, own, passes):
    model, data = Toy(), batch()
    terms = named_terms(model.losses(*data), None)
    add_to_grad(frontier.backward_known(terms, shared, own, learned(model), 1.0))
    assert model.backward_passes == passes
    factors = (dict(zip(TASKS, each, strict=True)) for each in (shared, own))
    assert_gradients(model, expected_gradients(model, model.losses(*data), *factors))


def test_a_head_that_another_task_comes_to_use_takes_two_passes():
    """Until a refresh it is its first owner's, with the plain gradients of both."""
    model, data = Toy(), batch()

    def losses():
        found = model.losses(*data)
        return found | {"b": found["b"] + model.heads["a"](model.trunk(data[0])).square().mean()}

    engine = Engine(InverseNorm(update_frequency=9), model)
    engine.backward(model.losses(*data))
    clear(model)
    model.backward_passes = 0
    engine.backward(losses())
    assert model.backward_passes == 2
    weight = model.heads["a"][0].weight
    torch.testing.assert_close(weight.grad, torch.autograd.grad(sum(losses().values()), weight)[0])


class Given(GradientStrategy):
    """These coefficients, whatever the gradients are."""

    def __init__(self, *coefficients):
        super().__init__(update_frequency=9)
        self.coefficients = coefficients

    def solve(self, observation):
        return Decision(np.array(self.coefficients))


class Crossed(nn.Module):
    """A layer that the trunk and a head use, and a block that two of three tasks share."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tied, self.middle = nn.Linear(6, 6), nn.Linear(6, 6)
        self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in TASKS})
        self.double()

    def losses(self, inputs):
        features = torch.tanh(self.tied(inputs))
        block = torch.tanh(self.middle(features))
        seen = {"a": block, "b": block, "c": self.tied(features)}
        return {task: (head(seen[task]) - i).square().mean() for i, (task, head) in enumerate(self.heads.items())}


def test_a_layer_of_trunk_and_head_beside_a_block_of_two_tasks():
    model, inputs = Crossed(), batch()[0].new_ones(4, 6)
    engine = Engine(Given(0.005, 2.0, -0.01), model)
    for _ in range(2):
        clear(model)
        step = engine.backward(model.losses(inputs))
        assert_gradients(model, expected_gradients(model, model.losses(inputs), step.weights))
    assert not step.refreshed


def test_a_weight_outside_the_given_ones_that_trunk_and_head_use():
    """It is not shared, because `shared=` says so, and gets the plain sum at every step."""
    model, inputs = Crossed(), batch()[0].new_ones(4, 6)
    engine = Engine(InverseNorm(update_frequency=9), model, shared=model.middle.parameters())
    for _ in range(2):
        clear(model)
        step = engine.backward(model.losses(inputs))
        wanted = torch.autograd.grad(sum(model.losses(inputs).values()), model.tied.weight)[0]
        torch.testing.assert_close(model.tied.weight.grad, wanted)
    assert not step.refreshed


def test_shared_parameters_that_are_recomputed_out_of_sight():
    """The input requires a gradient and is nobody's, so that no trunk lies behind the losses: two passes."""
    model, (inputs, targets) = Toy(), batch()
    inputs.requires_grad_()

    def loss(*, recomputed):
        hidden = model.trunk[:4](inputs)
        found = checkpoint(model.trunk[4], hidden, use_reentrant=True) if recomputed else model.trunk[4](hidden)
        return {"a": (model.heads["a"](torch.tanh(found)) - targets[:, :1]).square().mean()}

    engine = Engine(InverseNorm(update_frequency=9), model, shared=model.trunk.parameters())
    for _ in range(2):
        clear(model)
        step = engine.backward(loss(recomputed=True))
        for parameter in model.trunk.parameters():
            wanted = torch.autograd.grad(loss(recomputed=False)["a"], parameter)[0]
            torch.testing.assert_close(parameter.grad, step.weights["a"] * wanted)
    assert not step.refreshed
