"""Strategies that look at the losses' gradients at the predictions: norms, cost, accumulation, scaling, failures."""

import copy

import numpy as np
import pytest
import torch
from toy import Toy, assert_gradients, batch, clear, expected_gradients
from toy_training import make_trainer

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.loss_weighting.gradient_normalised import GradientNormalised
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
from coral_mtl.errors import StrategyError


def at_prediction(**options):
    return GradientNormalised(**{"at": "prediction", "reference": "one", "max_weight": 1e9} | options)


def losses_of(predictions, targets):
    """Squared errors, their gradients of very different sizes."""
    return {
        task: 10.0**i * (out - targets[:, i : i + 1]).square().mean()
        for i, (task, out) in enumerate(predictions.items())
    }


def norms_by_hand(predictions, targets):
    """|dl_t/dP| of `losses_of`, written out."""
    return {
        task: float((10.0**i * 2 * (out - targets[:, i : i + 1]) / len(out)).detach().norm())
        for i, (task, out) in enumerate(predictions.items())
    }


def step_of(engine, model, inputs, targets, **options):
    predictions = model(inputs)
    return engine.backward(losses_of(predictions, targets), predictions=predictions, **options)


def test_weights_are_inverse_norms_at_the_predictions_for_one_backward():
    model, (inputs, targets) = Toy(), batch()
    norms = norms_by_hand(model(inputs), targets)
    weights = {task: 1 / norm for task, norm in norms.items()}
    expected = expected_gradients(model, losses_of(model(inputs), targets), weights, weights)
    model.backward_passes = 0
    step = step_of(Engine(at_prediction(), model), model, inputs, targets)
    assert model.backward_passes == 1
    assert step.weights == pytest.approx(weights, rel=1e-12)
    assert step.records["prediction_gradient_norm"] == pytest.approx(norms, rel=1e-12)
    assert_gradients(model, expected)


def test_terms_of_one_prediction():
    """Two losses of one tensor, given as a tensor, a list and a mapping of any name: all the same."""
    model, (inputs, targets) = Toy(("a",)), batch()
    found = []
    for wrap in (lambda p: p, lambda p: [p], lambda p: {"outline": p}):
        prediction = model(inputs)["a"]
        error = prediction - targets[:, :1]
        engine = Engine(at_prediction(), model)
        losses = {"square": error.square().mean(), "absolute": error.abs().mean()}
        found.append(engine.backward(losses, predictions=wrap(prediction)).weights)
    error = (model(inputs)["a"] - targets[:, :1]).detach()
    assert found[0] == pytest.approx(
        {"square": len(inputs) / (2 * float(error.norm())), "absolute": len(inputs) ** 0.5}
    )
    assert found[0] == found[1] == found[2]


def test_a_loss_of_two_predictions_counts_both():
    model, inputs = Toy(("a", "b")), batch()[0]
    predictions = model(inputs)
    losses = {"both": (predictions["a"] * predictions["b"]).sum(), "one": predictions["a"].sum()}
    step = Engine(at_prediction(), model).backward(losses, predictions=predictions)
    both = float(torch.cat([predictions["a"], predictions["b"]]).detach().norm())
    assert step.weights == pytest.approx({"both": 1 / both, "one": len(inputs) ** -0.5})


def test_micro_batches_equal_one_batch():
    model, (inputs, targets) = Toy(), batch(12)
    whole = step_of(Engine(at_prediction(), model), model, inputs, targets)
    expected = {name: p.grad for name, p in model.named_parameters()}
    clear(model)
    engine = Engine(at_prediction(), model)
    for part in range(3):
        rows = slice(4 * part, 4 * part + 4)
        predictions = model(inputs[rows])
        losses = {task: loss / 3 for task, loss in losses_of(predictions, targets[rows]).items()}
        step = engine.backward(losses, predictions=predictions, accumulate=part < 2)
    assert step.weights == pytest.approx(whole.weights, rel=1e-12)
    assert_gradients(model, expected)


def test_a_scaler_changes_nothing_but_the_scale():
    model, (inputs, targets) = Toy(dtype=torch.float32), batch(dtype=torch.float32)
    plain = step_of(Engine(at_prediction(), model), model, inputs, targets)
    expected = {name: None if p.grad is None else p.grad * 2.0**14 for name, p in model.named_parameters()}
    clear(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    scaled = step_of(Engine(at_prediction(), model), model, inputs, targets, scaler=scaler)
    assert scaled.weights == pytest.approx(plain.weights, rel=1e-6)
    assert_gradients(model, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "wrap", [lambda s: WeightAveraging(s, momentum=0.0), lambda s: ClippedDirection(s, max_norm=1e9)]
)
def test_wrappers_hand_predictions_on(wrap):
    model, (inputs, targets) = Toy(), batch()
    plain = step_of(Engine(at_prediction(), model), model, inputs, targets).weights
    assert step_of(Engine(wrap(at_prediction()), model), model, inputs, targets).weights == pytest.approx(plain)


def test_underneath_a_gradient_strategy_and_on_features():
    model, (inputs, targets) = Toy(), batch()
    weights = step_of(Engine(at_prediction(), model), model, inputs, targets).weights
    stacked = step_of(Engine(Stack(at_prediction(), MGDA()), model), model, inputs, targets)
    assert stacked.head_weights == pytest.approx(weights, rel=1e-12)
    features = model.trunk(inputs)
    predictions = {task: head(features) for task, head in model.heads.items()}
    engine = Engine(Stack(at_prediction(), MGDA()), model, gram_on="features")
    step = engine.backward(losses_of(predictions, targets), predictions=predictions, features=features)
    assert step.head_weights == pytest.approx(weights, rel=1e-12)


def test_between_refreshes_no_predictions_are_needed():
    model, (inputs, targets) = Toy(), batch()
    engine = Engine(at_prediction(update_frequency=3), model)
    first = step_of(engine, model, inputs, targets)
    for _ in range(2):
        assert engine.backward(losses_of(model(inputs), targets)).weights == first.weights
    with pytest.raises(StrategyError, match="predictions="):
        engine.backward(losses_of(model(inputs), targets))


def test_a_task_first_seen_in_the_middle_of_a_reused_step_waits():
    model, (inputs, targets) = Toy(), batch()
    engine = Engine(at_prediction(update_frequency=3), model)
    halves = [{"a": losses_of(model(inputs), targets)["a"]} for _ in range(2)]
    predictions = model(inputs)
    engine.backward({"a": losses_of(predictions, targets)["a"]}, predictions=predictions)
    engine.backward(halves[0], accumulate=True)
    both = losses_of(model(inputs), targets)
    step = engine.backward({"a": both["a"], "b": both["b"]})
    assert step.inactive["b"] == "first seen in the middle of a step"


def test_a_detached_prediction_is_refused():
    model, (inputs, targets) = Toy(), batch()
    predictions = model(inputs)
    losses = losses_of(predictions, targets)
    with pytest.raises(StrategyError, match="no prediction that carries"):
        Engine(at_prediction(), model).backward(losses, predictions=predictions["a"].detach())
    with pytest.raises(StrategyError, match="'a' does not depend"):
        Engine(at_prediction(), model).backward(losses, predictions=predictions["b"] * 1)


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_non_finite_gradient_at_the_prediction_never_reaches_the_averages(accumulate):
    """sqrt(0) has a finite value and an infinite derivative."""
    model, (inputs, targets) = Toy(), batch()
    engine = Engine(at_prediction(), model)
    step_of(engine, model, inputs, targets)
    before = copy.deepcopy(engine.strategy.state_dict())

    def broken():
        predictions = model(inputs)
        losses = losses_of(predictions, targets) | {
            "b": (predictions["b"] - predictions["b"].detach()).abs().sum().sqrt()
        }
        return {"losses": losses, "predictions": predictions}

    if accumulate:
        step_of(engine, model, inputs, targets, accumulate=True)
    step = engine.backward(**broken())
    assert step.skipped == "non-finite gradient of task 'b'"
    assert engine.strategy.state_dict() == before
    dropping = Engine(at_prediction(), model, nonfinite="drop")
    if accumulate:
        step_of(dropping, model, inputs, targets, accumulate=True)
    step = dropping.backward(**broken())
    assert set(step.weights) == {"a", "c"}
    assert step.inactive["b"] == "non-finite gradient"


def test_the_trainer_passes_predictions_and_resumes_bit_for_bit():
    whole, _ = make_trainer(at_prediction(beta=0.9), gradient_accumulation_steps=2)
    whole.fit()
    stopped, diary = make_trainer(at_prediction(beta=0.9), gradient_accumulation_steps=2)
    stopped.fit(stop=lambda: len(diary.steps) >= 4)
    resumed, later = make_trainer(at_prediction(beta=0.9), gradient_accumulation_steps=2)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    resumed.fit()
    assert 0 < len(later.steps) < whole.step == resumed.step
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    weights = np.array([list(report.account.weights.values()) for report in later.steps])
    assert (np.ptp(weights, axis=0) > 0).all()
