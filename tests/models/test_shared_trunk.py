import pytest
import torch

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.shared_trunk import SharedTrunk

TASKS = {"left": TaskSpec("classification", 10), "ink": TaskSpec("regression", 1), "on": TaskSpec("regression", 3)}


@pytest.mark.parametrize(("shape", "depth"), [((1, 10, 12), 2), ((3, 9, 17), 3), ((2, 4, 4), 2)])
def test_one_prediction_per_task(shape, depth):
    predictions = SharedTrunk(shape, TASKS, depth=depth)(torch.rand(5, *shape))
    assert {task: tuple(value.shape) for task, value in predictions.items()} == {
        "left": (5, 10),
        "ink": (5, 1),
        "on": (5, 3),
    }


def test_tasks_share_the_trunk_and_only_the_trunk():
    model = SharedTrunk((1, 10, 12), TASKS)
    for task, value in model(torch.rand(4, 1, 10, 12)).items():
        model.zero_grad(set_to_none=True)
        value.sum().backward(retain_graph=True)
        reached = {
            name.split(".")[0:2][-1] for name, p in model.heads.named_parameters(prefix="heads") if p.grad is not None
        }
        assert reached == {task}
        assert all(p.grad is not None for p in model.trunk.parameters())


def test_a_batch_has_the_mean_gradient_of_its_parts():
    model = SharedTrunk((1, 10, 12), TASKS).double()
    inputs = torch.rand(8, 1, 10, 12, dtype=torch.float64)

    def gradient(part):
        model.zero_grad()
        sum(value.square().sum() for value in model(part).values()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    parts = sum(gradient(part) for part in inputs.split(2))
    assert torch.allclose(parts, gradient(inputs), rtol=1e-10)


def test_dropout_acts_in_training_alone():
    model = SharedTrunk((1, 8, 8), TASKS, dropout=0.5)
    inputs = torch.rand(4, 1, 8, 8)
    assert not torch.equal(model(inputs)["left"], model(inputs)["left"])
    model.eval()
    assert torch.equal(model(inputs)["left"], model(inputs)["left"])


def test_size_follows_the_options():
    count = sum(p.numel() for p in SharedTrunk((1, 10, 12), {}, width=4, depth=2, features=6).parameters())
    assert count == (9 * 4 + 4) + (9 * 4 * 8 + 8) + (8 * 2 * 3 * 6 + 6)


@pytest.mark.parametrize("name", ["a.b", "type", "forward"])
def test_names_that_no_module_can_have(name):
    with pytest.raises(ConfigError, match="rename the task"):
        SharedTrunk((1, 8, 8), {name: TaskSpec("regression", 1)})


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}, {"features": 0}, {"dropout": 1.0}, {"breadth": 3}])
def test_options_out_of_range(options):
    with pytest.raises((ConfigError, TypeError), match=next(iter(options))):
        registry.models.get("shared-trunk")((1, 8, 8), TASKS, **options)


@pytest.mark.parametrize("shape", [(12,), (1, 3, 8)])
def test_inputs_that_cannot_be_halved_twice(shape):
    with pytest.raises(ConfigError, match=r"4 pixels or more a side.*\n.*take a smaller depth"):
        SharedTrunk(shape, TASKS)
