"""A non-finite loss or gradient harms no parameter and no state; zero gradients leave the others exact."""

import copy

import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from toy import Fixed, InverseLoss, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.errors import TrainingError

WEIGHTS = {"a": 0.5, "b": 2.0, "c": 0.25}
STRATEGIES = {
    "gram": InverseNorm,
    "reused": lambda: InverseNorm(update_frequency=10),
    "losses": InverseLoss,
    "nothing": lambda: Fixed(WEIGHTS),
}


def broken(model, where):
    """Losses of which b's is not finite itself, or has a non-finite gradient in the trunk or in its head alone."""
    losses = model.losses(*batch())
    if where == "loss":
        losses["b"] = losses["b"] * float("nan")
    else:
        parameter = model.trunk[0].weight if where == "trunk" else model.heads["b"][2].bias
        losses["b"] = losses["b"] + torch.sqrt(parameter.reshape(-1)[0] * 0.0)  # d sqrt(x)/dx at 0 is infinite
    return losses


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("where", ["loss", "trunk", "head"])
def test_skip_leaves_grad_and_state_alone_and_names_the_task(name, where):
    model = Toy()
    engine = Engine(STRATEGIES[name](), model)
    engine.backward(model.losses(*batch()))
    clear(model)
    model.trunk[0].bias.grad = torch.ones_like(model.trunk[0].bias)
    state = copy.deepcopy(engine.state_dict())
    step = engine.backward(broken(model, where))
    assert "non-finite" in step.skipped
    assert "'b'" in step.skipped
    assert "b" in step.inactive
    assert model.trunk[0].bias.grad.eq(1).all()
    assert all(p.grad is None for n, p in model.named_parameters() if n != "trunk.0.bias")
    assert engine.skipped_in_a_row == 1
    after = engine.state_dict()
    assert after["strategy"] == state["strategy"]
    assert after["steps"] == state["steps"]
    clear(model)
    assert engine.backward(model.losses(*batch())).skipped is None
    assert engine.skipped_in_a_row == 0


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("where", ["loss", "trunk", "head"])
def test_raise_names_the_task(name, where):
    model = Toy()
    engine = Engine(STRATEGIES[name](), model, nonfinite="raise")
    engine.backward(model.losses(*batch()))
    clear(model)
    with pytest.raises(TrainingError, match="of task 'b'"):
        engine.backward(broken(model, where))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("where", ["loss", "trunk", "head"])
def test_drop_solves_exactly_for_the_others(name, where):
    model = Toy()
    engine = Engine(STRATEGIES[name](), model, nonfinite="drop")
    engine.backward(model.losses(*batch()))
    clear(model)
    step = engine.backward(broken(model, where))
    if name in ("gram",) or where == "loss":
        assert step.skipped is None
        assert step.tasks == ("a", "c")
        others = {t: v for t, v in model.losses(*batch()).items() if t != "b"}
        heads = {t: step.head_weights[t] for t in others}
        assert_gradients(model, expected_gradients(model, others, step.weights, heads))
    else:
        assert step.skipped is not None
        assert all(p.grad is None for p in model.parameters())


def test_all_tasks_non_finite_skips_even_under_drop():
    model = Toy()
    losses = {t: v * float("inf") for t, v in model.losses(*batch()).items()}
    step = Engine(InverseNorm(), model, nonfinite="drop").backward(losses)
    assert step.skipped is not None
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("accumulated", [False, True])
def test_zero_gradient_task_is_listed_and_the_others_are_exact(accumulated):
    model = Toy()
    losses = model.losses(*batch())
    losses["b"] = losses["b"] * 0.0
    engine = Engine(InverseNorm(), model)
    if accumulated:
        engine.backward({t: v / 2 for t, v in losses.items()}, accumulate=True)
        again = model.losses(*batch())
        losses = {t: (v * 0.0 if t == "b" else v) / 2 for t, v in again.items()}
    step = engine.backward(losses)
    assert step.tasks == ("a", "c")
    assert step.inactive == {"b": "zero gradient"}
    assert "b" not in step.weights
    others = {t: v for t, v in model.losses(*batch()).items() if t != "b"}
    expected = expected_gradients(model, others, step.weights)
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(model.get_parameter(name).grad, gradient, rtol=1e-12, atol=1e-14)


def test_constant_loss_is_listed():
    model = Toy()
    losses = model.losses(*batch()) | {"d": torch.tensor(3.0)}
    step = Engine(InverseNorm(), model).backward(losses)
    assert step.inactive == {"d": "constant"}
    assert step.losses["d"] == 3.0


@pytest.mark.parametrize("scale", [2.0**16, 2.0**24])
@pytest.mark.parametrize("name", STRATEGIES)
def test_scaler_sees_scaled_gradients_and_the_strategy_does_not(name, scale):
    plain, scaled = Toy(), Toy()
    reference, engine = Engine(STRATEGIES[name](), plain), Engine(STRATEGIES[name](), scaled)
    scaler = GradScaler("cpu", init_scale=scale)
    optimizer = torch.optim.SGD(list(scaled.parameters()), lr=0.0)
    for _ in range(2):
        clear(plain)
        clear(scaled)
        wanted = reference.backward(plain.losses(*batch()))
        step = engine.backward(scaled.losses(*batch()), scaler=scaler)
        assert step.weights == wanted.weights
        if wanted.gram is not None:
            assert (step.gram == wanted.gram).all()
        scaler.unscale_(optimizer)
        for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
            assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("policy", ["skip", "raise", "drop"])
def test_overflow_under_a_scaler_skips_lowers_the_scale_and_leaves_the_strategy_alone(name, policy):
    model = Toy()
    engine = Engine(STRATEGIES[name](), model, nonfinite=policy)
    scaler = GradScaler("cpu", init_scale=2.0**16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for make_losses in (lambda: model.losses(*batch()), lambda: broken(model, "trunk")):
        before = copy.deepcopy(engine.state_dict()["strategy"])
        parameters = [p.detach().clone() for p in model.parameters()]
        optimizer.zero_grad()
        step = engine.backward(make_losses(), scaler=scaler)
        scaler.step(optimizer)
        scaler.update()
    assert step.skipped is not None
    assert engine.state_dict()["strategy"] == before
    assert scaler.get_scale() == 2.0**15
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), parameters, strict=True))
