import copy
import inspect
import io

import pytest
import torch
from torch import nn

from coral_mtl import registry
from coral_mtl.engine.optimizer import SGD, AdamW, AdamWPolyDecay, ScheduledOptimizer
from coral_mtl.errors import ConfigError
from coral_mtl.options import options_of

NAMES = ["AdamWPolyDecay", "AdamW", "Adam", "SGD"]


class Net(nn.Module):
    """Weights, biases, norms, and a bias that is a matrix."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.GroupNorm(1, 2)
        self.linear = nn.Linear(2, 3)
        self.position_bias = nn.Parameter(torch.ones(2, 2))


def names_by_decay(optimizer, model):
    names = {id(p): name for name, p in model.named_parameters()}
    return [(group["weight_decay"], {names[id(p)] for p in group["params"]}) for group in optimizer.param_groups]


@pytest.mark.parametrize("name", NAMES)
def test_one_dimensional_parameters_and_biases_have_no_decay(name):
    model = Net()
    optimizer = registry.optimizers.get(name)(model.named_parameters(), 10, weight_decay=0.3).optimizer
    weights = {"convolution.weight", "linear.weight"}
    rest = {"convolution.bias", "linear.bias", "norm.weight", "norm.bias", "position_bias"}
    assert names_by_decay(optimizer, model) == [(0.3, weights), (0.0, rest)]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gradient_only_weights_shrink(name):
    model = Net()
    before = copy.deepcopy(model.state_dict())
    optimizer = registry.optimizers.get(name)(model.named_parameters(), 10, lr=0.1, weight_decay=0.5).optimizer
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"convolution.weight", "linear.weight"}


@pytest.mark.parametrize("name", NAMES)
def test_strategy_parameters_follow_the_schedule_at_their_own_rate(name):
    log_variances, balances = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))
    extra = [{"params": [log_variances], "lr": 0.025}, {"params": [balances], "weight_decay": 0.2}]
    made = registry.optimizers.get(name)(Net().named_parameters(), 8, extra, lr=0.1, weight_decay=0.5)
    groups = made.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.0, 0.2]
    ratios = []
    for _ in range(8):
        made.optimizer.step()
        made.schedule.step()
        rates = [group["lr"] for group in groups]
        ratios.append([rate / 0.1 for rate in rates[:2]] + [rates[2] / 0.025, rates[3] / 0.1])
    assert all(row == pytest.approx([row[0]] * 4) for row in ratios)
    assert ratios[3][0] == (pytest.approx(0.5) if name == "AdamWPolyDecay" else 1.0)


def test_warm_up_and_decay_count_optimiser_steps():
    made = AdamWPolyDecay(Net().named_parameters(), 10, lr=2.0, warmup_ratio=0.25, power=2.0, min_lr_factor=0.1)
    rates = []
    for _ in range(12):
        rates.append(made.schedule.get_last_lr()[0])
        made.optimizer.step()
        made.schedule.step()
    decay = [0.2 + 1.8 * ((8 - k) / 8) ** 2 for k in range(8)]
    assert rates == pytest.approx([1.0, 2.0, *decay, 0.2, 0.2])


def test_a_single_step_has_a_learning_rate():
    made = AdamWPolyDecay(Net().named_parameters(), 1, lr=0.5, warmup_ratio=0.9)
    assert made.schedule.get_last_lr() == [0.5, 0.5]


def test_no_steps_at_all():
    with pytest.raises(ConfigError, match="0 optimiser steps"):
        AdamWPolyDecay(Net().named_parameters(), 0)


def test_state_continues_the_schedule_through_a_safe_file():
    def drive(made, model, steps):
        for _ in range(steps):
            made.optimizer.zero_grad()
            sum((p**2).sum() for p in model.parameters()).backward()
            made.optimizer.step()
            made.schedule.step()

    model = Net()
    made = AdamWPolyDecay(model.named_parameters(), 9)
    drive(made, model, 4)
    file = io.BytesIO()
    torch.save([model.state_dict(), made.optimizer.state_dict(), made.schedule.state_dict()], file)
    file.seek(0)
    drive(made, model, 5)
    twin = Net()
    resumed = AdamWPolyDecay(twin.named_parameters(), 9)
    for part, state in zip(
        (twin, resumed.optimizer, resumed.schedule), torch.load(file, weights_only=True), strict=True
    ):
        part.load_state_dict(state)
    drive(resumed, twin, 5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert made.schedule.get_last_lr() == resumed.schedule.get_last_lr()


def test_first_adamw_step_by_hand():
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    made = AdamW([("weight", weight)], 5, lr=0.1, weight_decay=0.3, adam_betas=[0.8, 0.9], adam_epsilon=0.5)
    weight.grad = torch.tensor([[4.0]], dtype=torch.float64)
    made.optimizer.step()
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.3) - 0.1 * 4.0 / (4.0 + 0.5))


def test_two_sgd_steps_by_hand():
    weight = nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))
    made = SGD([("weight", weight)], 5, lr=0.1, momentum=0.5, weight_decay=0.2)
    velocity, expected = 0.0, 1.0
    for _ in range(2):
        weight.grad = torch.tensor([[3.0]], dtype=torch.float64)
        made.optimizer.step()
        velocity = 0.5 * velocity + 3.0 + 0.2 * expected
        expected -= 0.1 * velocity
    assert weight.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.0},
        {"weight_decay": -0.1},
        {"adam_betas": (0.9, 1.0)},
        {"adam_betas": (0.9,)},
        {"warmup_ratio": 1.0},
        {"power": 0.0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        AdamWPolyDecay(Net().named_parameters(), 10, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained(name):
    cls = registry.optimizers.get(name.lower())
    assert issubclass(cls, ScheduledOptimizer)
    for option in options_of(cls).values():
        assert "(default" in option.help
        assert option.default is not inspect.Parameter.empty
