"""k micro-batches equal one batch k times as large, for every way a decision is made."""

import pytest
import torch
from toy import Fixed, InverseLoss, InverseNorm, Toy, batch, clear

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.stack import Stack
from coral_mtl.errors import StrategyError

STRATEGIES = {
    "gram": InverseNorm,
    "reused": lambda: InverseNorm(update_frequency=3),
    "losses": InverseLoss,
    "nothing": lambda: Fixed({"a": 0.5, "b": 2.0, "c": 0.25}),
    "stack of losses": lambda: Stack(InverseLoss(), InverseNorm(update_frequency=3)),
    "stack": lambda: Stack(Fixed({"a": 0.5, "b": 2.0, "c": 0.25}), InverseNorm(update_frequency=3)),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_micro_batches_equal_the_large_batch(name):
    large, small = Toy(), Toy()
    engines = Engine(STRATEGIES[name](), large), Engine(STRATEGIES[name](), small)
    for index in range(5):
        inputs, targets = batch(16, seed=index)
        clear(large)
        clear(small)
        whole = engines[0].backward(large.losses(inputs, targets))
        for part in range(4):
            rows = slice(4 * part, 4 * part + 4)
            losses = {t: loss / 4 for t, loss in small.losses(inputs[rows], targets[rows]).items()}
            step = engines[1].backward(losses, accumulate=part < 3)
            assert step.accumulating is (part < 3)
        assert step.losses == pytest.approx(whole.losses, rel=1e-13)
        assert step.weights == pytest.approx(whole.weights, rel=1e-11)
        for one, other in zip(large.parameters(), small.parameters(), strict=True):
            if one.grad is None:
                assert other.grad is None
            else:
                torch.testing.assert_close(other.grad, one.grad, rtol=1e-11, atol=1e-13)


def test_known_coefficients_cost_one_backward_a_micro_batch():
    model = Toy()
    engine = Engine(Fixed({"a": 0.5, "b": 2.0, "c": 0.25}), model)
    for part in range(4):
        engine.backward(model.losses(*batch(seed=part)), accumulate=part < 3)
    assert model.backward_passes == 4
    assert engine.strategy.steps == 1, "one optimiser step is one decision"


def test_grad_is_filled_at_the_end_of_the_window_only():
    model = Toy()
    for strategy in (InverseNorm(), Fixed({"a": 1.0, "b": 1.0, "c": 1.0})):
        engine = Engine(strategy, model)
        clear(model)
        engine.backward(model.losses(*batch()), accumulate=True)
        assert all(p.grad is None for p in model.parameters())
        engine.backward(model.losses(*batch()))
        assert model.trunk[0].weight.grad is not None


def test_a_task_that_appears_in_one_micro_batch_only():
    large, small = Toy(), Toy()
    inputs, targets = batch(8)
    first, second = large.losses(inputs[:4], targets[:4]), large.losses(inputs[4:], targets[4:])
    del second["c"]
    losses = {t: (first[t] + second[t]) / 2 if t in second else first[t] / 2 for t in first}
    Engine(InverseNorm(), large).backward(losses)
    engine = Engine(InverseNorm(), small)
    engine.backward({t: v / 2 for t, v in small.losses(inputs[:4], targets[:4]).items()}, accumulate=True)
    rest = {t: v / 2 for t, v in small.losses(inputs[4:], targets[4:]).items() if t != "c"}
    step = engine.backward(rest)
    assert step.tasks == ("a", "b", "c")
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad)


def test_a_task_first_seen_in_the_middle_of_a_reused_step_waits_for_the_next_refresh():
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=10), model)
    both = {t: v for t, v in model.losses(*batch()).items() if t != "c"}
    engine.backward(both)
    both = {t: v for t, v in model.losses(*batch()).items() if t != "c"}
    engine.backward(both, accumulate=True)
    step = engine.backward(model.losses(*batch()))
    assert not step.refreshed
    assert "first seen" in step.inactive["c"]
    assert engine.backward(model.losses(*batch())).refreshed


def test_state_is_not_taken_in_the_middle_of_a_step():
    model = Toy()
    engine = Engine(InverseNorm(), model)
    engine.backward(model.losses(*batch()), accumulate=True)
    with pytest.raises(StrategyError, match="middle of an accumulated step"):
        engine.state_dict()


def test_an_exception_ends_the_window():
    model = Toy()
    engine = Engine(InverseNorm(), model)
    engine.backward(model.losses(*batch()), accumulate=True)
    broken = model.losses(*batch())
    broken["b"].backward()
    clear(model)
    with pytest.raises(RuntimeError):
        engine.backward(broken)
    engine.backward(model.losses(*batch(seed=3)))
    fresh = Toy()
    Engine(InverseNorm(), fresh).backward(fresh.losses(*batch(seed=3)))
    torch.testing.assert_close(model.trunk[0].weight.grad, fresh.trunk[0].weight.grad)
