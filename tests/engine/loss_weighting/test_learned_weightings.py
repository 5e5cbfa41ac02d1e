"""Uncertainty and IMTL-L: fixed points by real optimisation, the clamp, names, identity of parameters."""

import math

import numpy as np
import pytest
import torch

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.loss_weighting.imtl_l import IMTLL
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError

LOSSES = {"left": 0.02, "right": 3.0, "ink": 40.0}
KINDS = {"left": "classification", "right": "regression", "ink": "regression"}


def train(strategy, optimizer_class, steps, losses=LOSSES, **options):
    """Minimise the strategy's objective on constant losses, through the engine, with a model that stays still."""
    model = torch.nn.Linear(1, 1)
    engine = Engine(strategy, model, tasks=list(losses))
    groups = [{"params": model.parameters(), "lr": 0.0}, *engine.parameter_groups()]
    optimizer = optimizer_class(groups, weight_decay=0.3, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        anchor = sum(p.sum() for p in model.parameters()) * 0.0
        step = engine.backward({task: anchor + loss for task, loss in losses.items()})
        optimizer.step()
    return step


@pytest.mark.parametrize("kind", ["classification", "regression", KINDS], ids=["classification", "regression", "mixed"])
@pytest.mark.parametrize(
    ("optimizer", "options", "steps"),
    [
        (torch.optim.SGD, {"lr": 0.5}, 400),
        (torch.optim.Adam, {"lr": 0.1}, 1500),
        (torch.optim.AdamW, {"lr": 0.1}, 1500),
    ],
)
def test_uncertainty_settles_at_half_the_inverse_loss(kind, optimizer, options, steps):
    """Also under weight decay, which the strategy's own parameter group must not feel."""
    step = train(Uncertainty(loss_kind=kind), optimizer, steps, **options)
    for task, loss in LOSSES.items():
        assert step.weights[task] == pytest.approx(1 / (2 * loss), rel=1e-6)
        factor = 0.5 if kind == "regression" or (kind is KINDS and kind[task] == "regression") else 1.0
        assert step.records["log_variances"][task] == pytest.approx(math.log(2 * factor * loss), abs=1e-5)
    assert step.head_weights == step.weights


def test_imtl_l_settles_at_the_inverse_loss():
    step = train(IMTLL(), torch.optim.SGD, 400, lr=0.5)
    assert step.weights == pytest.approx({task: 1 / loss for task, loss in LOSSES.items()}, rel=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_uncertainty_gradient_is_that_of_the_formula(kind):
    strategy = Uncertainty(loss_kind=kind)
    strategy.bind(["a", "b"])
    s = torch.tensor([0.7, -2.0], dtype=torch.float64, requires_grad=True)
    losses = torch.tensor([1.5, 9.0], dtype=torch.float64)
    factor = 0.5 if kind == "regression" else 1.0
    (factor * torch.exp(-s) * losses + s / 2).sum().backward()
    strategy.load_state_dict({"log_variances": dict(zip("ab", s.tolist(), strict=True))})
    gradients = strategy.parameter_gradients(Observation(("b", "a"), losses.numpy()[::-1]))
    assert [p.item() for p, _ in gradients] == [-2.0, 0.7]
    np.testing.assert_allclose([g.item() for _, g in gradients], s.grad.flip(0), rtol=1e-14)


def test_learning_rate_of_its_own():
    strategy = Uncertainty(lr=0.025)
    strategy.bind(["a"])
    (group,) = strategy.parameter_groups()
    assert (group["lr"], group["weight_decay"]) == (0.025, 0.0)
    assert "lr" not in bound(Uncertainty()).parameter_groups()[0]


def bound(strategy, tasks=("a", "b")):
    strategy.bind(tasks)
    return strategy


def gradient_at(strategy, s, loss):
    strategy.load_state_dict({strategy.figures: {"a": s, "b": 0.0}})
    ((_, gradient),) = strategy.parameter_gradients(Observation(("a",), np.array([loss])))
    return gradient.item()


@pytest.mark.parametrize("s", [5.0, -5.0])
def test_beyond_the_clamp_the_weight_holds_and_the_way_back_is_open(s):
    strategy = bound(Uncertainty(clamp=2.0))
    edge = math.copysign(2.0, s)
    assert gradient_at(strategy, s, 1.0) == pytest.approx(0.5 - math.exp(-edge) + (s - edge))
    assert gradient_at(strategy, s, 1.0) * s > 0, "descent must lead back inside"
    assert strategy.weigh(Observation(("a",), np.ones(1)))[0] == pytest.approx(math.exp(-edge))


def test_at_the_clamp_nothing_pushes_further_out():
    strategy = bound(Uncertainty(clamp=2.0))
    assert gradient_at(strategy, 2.0, 1e6) == 0.0
    assert gradient_at(strategy, 3.0, 1e6) == 1.0
    assert gradient_at(strategy, 1.9, 1e6) < -1e5
    assert gradient_at(strategy, -2.0, 0.0) == 0.0


def test_log_variances_come_back_from_a_burst_of_huge_losses():
    strategy = bound(Uncertainty(clamp=3.0))
    optimizer = torch.optim.SGD(strategy.parameter_groups(), lr=0.05)
    for loss, steps in ((1e4, 300), (0.5, 800)):
        for _ in range(steps):
            optimizer.zero_grad()
            for parameter, gradient in strategy.parameter_gradients(Observation(("a", "b"), np.full(2, loss))):
                parameter.grad = gradient
            optimizer.step()
    np.testing.assert_allclose(strategy.weigh(Observation(("a", "b"), np.ones(2))), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("strategy", "weight"), [(Uncertainty(clamp=4.0), math.exp(4)), (IMTLL(clamp=4.0), math.exp(4))]
)
@pytest.mark.parametrize("loss", [0.0, -3.0])
def test_a_loss_without_an_optimum_stops_at_the_clamp(strategy, weight, loss):
    strategy.reset()
    step = train(strategy, torch.optim.SGD, 300, losses={"left": loss, "right": 1.0, "ink": 1.0}, lr=0.2)
    assert step.weights["left"] == pytest.approx(weight)
    assert step.weights["right"] == pytest.approx(0.5 if isinstance(strategy, Uncertainty) else 1.0, rel=1e-6)


def test_an_absent_task_gets_no_gradient():
    strategy = bound(Uncertainty(), ("a", "b", "c"))
    touched = {parameter for parameter, _ in strategy.parameter_gradients(Observation(("c", "a"), np.ones(2)))}
    parameters = dict(zip("abc", strategy.parameters(), strict=True))
    assert touched == {parameters["a"], parameters["c"]}


@pytest.mark.parametrize("build", [Uncertainty, IMTLL])
def test_without_task_names_the_error_says_what_to_do(build):
    with pytest.raises(StrategyError, match=r"tasks=\[\.\.\.\].*parameter_groups\(\)"):
        build().decide(Observation(("a",), np.ones(1)))
    with pytest.raises(StrategyError, match="tasks="):
        build().parameter_groups()


def test_loss_kinds_must_name_the_tasks():
    with pytest.raises(StrategyError, match="missing: right; unknown: rihgt"):
        Uncertainty(loss_kind={"left": "regression", "rihgt": "regression"}).bind(["left", "right"])
    with pytest.raises(StrategyError, match="loss_kind"):
        Uncertainty(loss_kind="clasification")


def test_unknown_tasks_are_named():
    with pytest.raises(StrategyError, match="about z"):
        bound(Uncertainty()).decide(Observation(("a", "z"), np.ones(2)))
    with pytest.raises(StrategyError, match="missing: z"):
        bound(Uncertainty()).bind(["a", "b", "z"])


def test_loading_keeps_the_parameters_that_the_optimiser_holds():
    strategy = bound(Uncertainty())
    held = strategy.parameters()
    strategy.load_state_dict({"log_variances": {"b": 1.25, "a": -0.5}})
    assert all(one is other for one, other in zip(held, strategy.parameters(), strict=True))
    assert [p.item() for p in held] == [-0.5, 1.25]
    assert strategy.state_dict() == {"log_variances": {"a": -0.5, "b": 1.25}}
    strategy.bind(["b", "a"])
    assert all(one is other for one, other in zip(held, strategy.parameters(), strict=True))


def test_the_initial_value_must_lie_within_the_clamp():
    with pytest.raises(StrategyError, match="clamp"):
        Uncertainty(initial_log_variance=11.0)
    assert bound(Uncertainty(initial_log_variance=-1.0)).weigh(Observation(("a",), np.ones(1)))[0] == pytest.approx(
        math.e
    )
