"""Other people's hooks on tensors, nodes and saved tensors work as in plain training."""

import pytest
import torch
from torch import nn
from toy import Fixed, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.stack import Stack


def every_kind_of_step(model, engine, data, make_losses):
    """Run a refresh, a refresh that may use ghost rows, and a reuse step; check each against plain autograd."""
    for index in range(3):
        clear(model)
        step = engine.backward(make_losses(model, data))
        assert step.refreshed is (index != 2)
        assert_gradients(model, expected_gradients(model, make_losses(model, data), step.weights), rtol=1e-9)


class TwiceThenReuse(InverseNorm):
    """Refreshes at the first two steps, reuses at the third."""

    def __init__(self):
        super().__init__(update_frequency=3)

    def _due(self, tasks):
        return self._steps < 2


@pytest.mark.parametrize("rows", ["stored", "ghost"])
def test_hooks_on_parameters_change_every_row(rows):
    model = Toy()
    mask = (torch.arange(48.0).reshape(6, 8) % 2).double()
    for parameter, factor in ((model.trunk[4].weight, mask), (model.heads["a"][0].weight, 0.5)):
        parameter.register_hook(lambda gradient, factor=factor: gradient * factor)
    engine = Engine(TwiceThenReuse(), model, rows=rows)
    every_kind_of_step(model, engine, batch(), lambda model, data: model.losses(*data))
    if rows == "ghost":
        assert engine.stored_layers()["trunk.4"] == "its weight or the layer has a backward hook"


@pytest.mark.parametrize("rows", ["stored", "ghost"])
def test_a_hook_that_comes_later_is_noticed(rows):
    model, data = Toy(), batch()
    engine = Engine(TwiceThenReuse(), model, rows=rows)
    engine.backward(model.losses(*data))
    model.trunk[4].register_full_backward_pre_hook(lambda module, gradients: (gradients[0] * 3,))
    clear(model)
    step = engine.backward(model.losses(*data))
    assert_gradients(model, expected_gradients(model, model.losses(*data), step.weights), rtol=1e-9)


@pytest.mark.parametrize("rows", ["stored", "ghost"])
def test_hooks_on_activations_and_nodes_see_and_change_what_passes(rows):
    seen = []

    def losses(model, data):
        features = model.trunk[4](model.trunk[:4](data[0]))
        features.register_hook(lambda gradient: gradient * 2)
        features.grad_fn.register_hook(lambda inputs, outputs: seen.append(len(outputs)))
        outputs = {task: head(features.tanh()) for task, head in model.heads.items()}
        return {task: (out - 1).square().mean() for task, out in outputs.items()}

    model = Toy()
    every_kind_of_step(model, Engine(TwiceThenReuse(), model, rows=rows), batch(), losses)
    assert seen


@pytest.mark.parametrize("rows", ["stored", "ghost"])
def test_hooks_on_saved_tensors(rows):
    packed = []

    def pack(tensor):
        packed.append(tensor.shape)
        return tensor.clone()

    def losses(model, data):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return model.losses(*data)

    model = Toy()
    every_kind_of_step(model, Engine(TwiceThenReuse(), model, rows=rows), batch(), losses)
    assert packed


@pytest.mark.parametrize("stacked", [False, True])
def test_every_head_is_passed_once_however_the_losses_come(stacked):
    tasks = tuple("abcdefg")
    model, data = Toy(tasks), batch()
    passes = dict.fromkeys(tasks, 0)

    def count(task):
        def hook(gradient):
            passes[task] += 1

        return hook

    for task, head in model.heads.items():
        head[0].weight.register_hook(count(task))
    engine = Engine(InverseNorm(), model, tasks=tasks)
    losses = model.losses(*data)
    engine.backward(torch.stack(list(losses.values())) if stacked else losses)
    assert passes == dict.fromkeys(tasks, 1)
    assert model.backward_passes == len(tasks)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_sparse_gradients_of_a_task_s_own_embedding(weight):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.trunk = nn.Linear(3, 4, dtype=torch.float64)
            self.own = nn.Embedding(10, 4, sparse=True, dtype=torch.float64)

        def losses(self, x, words):
            z = self.trunk(x).tanh()
            return {"a": z.square().mean(), "b": (z * self.own(words)).mean()}

    model, data = Words(), (torch.randn(5, 3, dtype=torch.float64), torch.tensor([1, 2, 2, 7, 9]))
    engine = Engine(Stack(Fixed({"a": 1.0, "b": weight}), InverseNorm(update_frequency=2)), model)
    for _ in range(2):
        clear(model)
        step = engine.backward(model.losses(*data))
        assert step.skipped is None
        wanted = torch.autograd.grad(model.losses(*data)["b"], model.own.weight)[0].to_dense() * weight
        assert model.own.weight.grad.is_sparse
        torch.testing.assert_close(model.own.weight.grad.to_dense(), wanted)
