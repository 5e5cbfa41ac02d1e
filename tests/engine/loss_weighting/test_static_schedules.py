"""Static weights that follow a schedule: what they are, whose they are, and what weight 0 does."""

import math
from pathlib import Path

import pytest
import torch
from toy import Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.config import dump_config, load_config
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.wrappers import WeightAveraging
from coral_mtl.errors import ConfigError, StrategyError
from coral_mtl.experiment import build_experiment
from coral_mtl.schedules import Cosine, Horizon

RUN = Horizon(steps=5, steps_per_epoch=5)
WEIGHTS = {"a": 1.0, "b": {"cosine": {"start": 2.0, "end": 0.0}}, "c": {"steps": {"values": {"0": 1, "0.6": 0}}}}


def expected(step):
    return {"a": 1.0, "b": 1.0 + math.cos(math.pi * min(step, 4) / 4), "c": float(step < 3)}


@pytest.mark.parametrize(
    "strategy",
    [Static(weights=WEIGHTS), WeightAveraging(Static(weights=WEIGHTS), momentum=0.0)],
    ids=["plain", "wrapped"],
)
def test_weights_follow_optimiser_steps(strategy):
    model, (inputs, targets) = Toy(), batch()
    engine = Engine(strategy, model, run=RUN)
    for step in range(5):
        clear(model)
        weights = expected(step)
        wanted = expected_gradients(model, model.losses(inputs, targets), weights, weights)
        engine.backward({task: loss / 2 for task, loss in model.losses(inputs, targets).items()}, accumulate=True)
        account = engine.backward({task: loss / 2 for task, loss in model.losses(inputs, targets).items()})
        assert account.weights == pytest.approx(weights, abs=1e-15)
        idle = [task for task, weight in weights.items() if weight == 0.0]
        wanted |= {name: None for name in wanted if any(name.startswith(f"heads.{task}.") for task in idle)}
        assert_gradients(model, wanted)


def test_a_schedule_underneath_a_gradient_strategy():
    model, (inputs, targets) = Toy(), batch()
    weights = {"a": Cosine(start=3.0, end=1.0), "b": 1.0, "c": 0.5}
    step = Engine(Stack(Static(weights=weights), MGDA()), model, run=RUN).backward(model.losses(inputs, targets))
    assert step.head_weights == {"a": 3.0, "b": 1.0, "c": 0.5}


def test_a_term_of_weight_zero_cannot_do_harm():
    """0 times an infinite gradient would be NaN."""
    model, (inputs, targets) = Toy(("a", "b")), batch()
    engine = Engine(Static(weights={"a": 1.0, "b": 0.0}), model)
    predictions = model(inputs)
    harmful = (predictions["b"] - predictions["b"].detach()).abs().sum().sqrt()
    step = engine.backward({"a": predictions["a"].square().mean(), "b": harmful})
    assert step.skipped is None
    assert step.weights == {"a": 1.0, "b": 0.0}
    assert all(torch.isfinite(p.grad).all() for p in model.trunk.parameters())
    assert all(p.grad is None for p in model.heads["b"].parameters())
    clear(model)
    later = {"steps": {"values": {"0": 0, "0.6": 1}}}
    step = Engine(Static(weights={"a": 0.0, "b": later}), model, run=RUN).backward(model.losses(inputs, targets))
    assert step.skipped is None
    assert all(p.grad is None for p in model.parameters())


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(StrategyError, match="all weights are 0") as refusal:
        Static(weights={"a": 0.0, "b": 0})
    assert refusal.value.option == "weights"


def test_a_schedule_without_the_length_of_the_run_is_an_error():
    model, (inputs, targets) = Toy(), batch()
    with pytest.raises(StrategyError, match=r"'b' follows a schedule.*\n.*run=Horizon"):
        Engine(Static(weights=WEIGHTS), model).backward(model.losses(inputs, targets))


@pytest.mark.parametrize(
    ("weight", "error", "match"),
    [
        ({"cosine": {"start": 1.0, "end": -1.0}}, ConfigError, r"Static: weights\.a is -0\.\d* at step 3"),
        ({"cosinus": {"start": 1.0, "end": 0.0}}, StrategyError, "no schedule called"),
        (-0.5, StrategyError, "greater than or equal to 0"),
    ],
)
def test_what_is_no_weight_is_refused(weight, error, match):
    with pytest.raises(error, match=match):
        Engine(Static(weights={"a": weight}), run=RUN)


def test_from_yaml():
    path = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
    written = "{ink: 0.5, left: 1.0, right: {cosine: {start: 1.0, end: 0.0}}}"
    overrides = ["loss.weighting_strategy.type=Static", f"loss.weighting_strategy.params.weights={written}"]
    config = load_config(path, overrides)
    assert "cosine" in dump_config(config)
    experiment = build_experiment(config)
    assert experiment.engine.strategy._weight("right", 0) == 1.0
    assert experiment.engine.strategy._weight("right", experiment.total_steps - 1) == 0.0
