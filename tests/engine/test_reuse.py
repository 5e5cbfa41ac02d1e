"""Steps that reuse coefficients: one backward, exact, with plain heads, whoever comes and goes."""

import pytest
import torch
from toy import Fixed, InverseLoss, InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.stack import Stack


def test_reuse_steps_are_exact_and_cost_one_backward():
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=4), model)
    weights = None
    for step_index in range(9):
        clear(model)
        losses = model.losses(*batch(seed=step_index))
        model.backward_passes = 0
        step = engine.backward(losses)
        passes = model.backward_passes
        refreshed = step_index % 4 == 0
        assert step.refreshed is refreshed
        assert passes == (3 if refreshed else 1)
        weights = step.weights if refreshed else weights
        assert step.weights == weights
        assert (step.gram is not None) is refreshed
        assert_gradients(model, expected_gradients(model, model.losses(*batch(seed=step_index)), weights))


def test_twenty_steps_of_seven_tasks_cost_32_backward_passes():
    model = Toy(tasks=tuple("abcdefg"))
    engine = Engine(InverseNorm(update_frequency=10), model)
    for step_index in range(20):
        engine.backward(model.losses(*batch(seed=step_index)))
    assert model.backward_passes == 32


def test_zero_coefficients_leave_the_heads_alone():
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=5), model)
    engine.backward(model.losses(*data))
    engine.strategy._cached["b"] = 0.0
    clear(model)
    step = engine.backward(model.losses(*data))
    assert step.weights["b"] == 0.0
    assert_gradients(model, expected_gradients(model, model.losses(*data), step.weights))


def test_stack_updates_its_weighting_on_reuse_steps():
    model, data = Toy(), batch()
    weighting = Fixed({"a": 0.5, "b": 2.0, "c": 0.25})
    engine = Engine(Stack(weighting, InverseNorm(update_frequency=5)), model)
    first = engine.backward(model.losses(*data))
    weighting.weights = {"a": 1.0, "b": 1.0, "c": 3.0}
    clear(model)
    step = engine.backward(model.losses(*data))
    assert not step.refreshed
    expected = {t: first.weights[t] / old * new for t, old, new in (("a", 0.5, 1.0), ("b", 2.0, 1.0), ("c", 0.25, 3.0))}
    assert step.weights == pytest.approx(expected, rel=1e-14)
    assert_gradients(model, expected_gradients(model, model.losses(*data), expected, weighting.weights))


def test_measured_reuse_step_keeps_the_cached_coefficients():
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=5), model)
    weights = engine.backward(model.losses(*data)).weights
    clear(model)
    step = engine.backward(model.losses(*batch(seed=9)), measure=True)
    assert not step.refreshed
    assert step.gram is not None
    assert step.weights == weights
    assert_gradients(model, expected_gradients(model, model.losses(*batch(seed=9)), weights))


def test_absent_task_is_dropped_by_name_and_a_new_one_forces_a_refresh():
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=10), model)
    engine.backward({t: loss for t, loss in model.losses(*data).items() if t != "c"})
    clear(model)
    losses = model.losses(*data)
    del losses["b"], losses["c"]
    step = engine.backward(losses)
    assert not step.refreshed
    assert step.tasks == ("a",)
    assert step.inactive == {"b": "absent"}
    clear(model)
    assert engine.backward(model.losses(*data)).refreshed
    clear(model)
    losses = model.losses(*data)
    del losses["a"]
    step = engine.backward(losses)
    assert not step.refreshed
    wanted = model.losses(*data)
    del wanted["a"]
    expected = expected_gradients(model, wanted, step.weights)
    assert_gradients(model, expected)


def test_a_task_without_labels_at_a_refresh_keeps_the_coefficient_it_had():
    model, data = Toy(), batch()
    engine = Engine(InverseNorm(update_frequency=2), model)
    before = engine.backward(model.losses(*data)).weights
    engine.backward(model.losses(*data))
    losses = model.losses(*data)
    refreshed = engine.backward(losses | {"b": losses["b"] * 0.0})
    assert refreshed.refreshed
    assert refreshed.weights.get("b", 0.0) == 0.0
    clear(model)
    reused = engine.backward(model.losses(*data))
    assert not reused.refreshed
    assert reused.weights["b"] == before["b"] > 0.0
    assert_gradients(model, expected_gradients(model, model.losses(*data), reused.weights))


def test_one_present_task_still_gets_its_coefficient_on_the_trunk():
    model, data = Toy(), batch()
    for update_frequency in (1, 10):
        clear(model)
        engine = Engine(InverseNorm(update_frequency=update_frequency), model)
        engine.backward(model.losses(*data))
        clear(model)
        alone = {"b": model.losses(*data)["b"]}
        step = engine.backward(alone)
        plain = torch.autograd.grad(model.losses(*data)["b"], model.trunk[0].weight)[0]
        torch.testing.assert_close(model.trunk[0].weight.grad, plain * step.weights["b"])
        head = torch.autograd.grad(model.losses(*data)["b"], model.heads["b"][0].weight)[0]
        torch.testing.assert_close(model.heads["b"][0].weight.grad, head)


def test_state_survives_a_checkpoint_bit_for_bit(tmp_path):
    def run(steps, engine, model, start=0):
        grads = []
        for index in range(start, steps):
            clear(model)
            engine.backward(model.losses(*batch(seed=index)))
            grads.append(model.trunk[0].weight.grad.clone())
        return grads

    straight = run(7, Engine(InverseNorm(update_frequency=3), Toy()), model := Toy())
    del straight
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=3), model)
    whole = run(7, engine, model)
    model = Toy()
    engine = Engine(InverseNorm(update_frequency=3), model)
    run(4, engine, model)
    torch.save(engine.state_dict(), tmp_path / "engine.pt")
    resumed_model = Toy()
    resumed = Engine(InverseNorm(update_frequency=3), resumed_model)
    resumed.load_state_dict(torch.load(tmp_path / "engine.pt", weights_only=True))
    rest = run(7, resumed, resumed_model, start=4)
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], rest, strict=True))
    assert resumed.shared_parameters() == engine.shared_parameters()
    assert resumed.task_parameters() == engine.task_parameters()


@pytest.mark.parametrize("strategy", [InverseNorm, InverseLoss])
def test_reuse_needs_no_memory_of_the_model(strategy):
    model, data = Toy(), batch()
    engine = Engine(strategy(), ())
    step = engine.backward(model.losses(*data))
    heads = step.head_weights
    assert_gradients(model, expected_gradients(model, model.losses(*data), step.weights, heads))
