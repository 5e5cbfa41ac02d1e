"""Wrappers: averages by name, clipping by the Gram matrix, and everything else passed through."""

import io

import numpy as np
import pytest
import torch
from toy import Fixed, InverseLoss, InverseNorm, Toy, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.excess_mtl import ExcessMTL
from coral_mtl.engine.gradient_strategies.grad_drop import GradDrop
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.gradient_strategies.modo import MoDo
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.engine.gradient_strategies.ntkmtl import NTKMTL
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.loss_weighting.famo import FAMO
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.observation import Needs, Observation, Promises
from coral_mtl.engine.pcgrad import PCGrad
from coral_mtl.engine.product import Product
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Horizon

TASKS = ("a", "b", "c")
WRAPPERS = {
    "averaged": lambda strategy: WeightAveraging(strategy, momentum=0.7),
    "clipped": lambda strategy: ClippedDirection(strategy, max_norm=0.5),
}
each = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def observations(number, tasks=TASKS):
    generator = np.random.default_rng(0)
    for step in range(number):
        G = generator.standard_normal((len(tasks), 6)) * [[1.0], [5.0], [0.2]]
        yield Observation(tasks, generator.uniform(1, 2, len(tasks)), G @ G.T, step=step)


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_the_average_starts_at_the_first_coefficients_and_follows():
    averaged, plain = WeightAveraging(MGDA(), momentum=0.9), MGDA()
    expected = None
    for observation in observations(6):
        latest = plain.decide(observation).coefficients
        expected = latest if expected is None else 0.9 * expected + 0.1 * latest
        np.testing.assert_allclose(averaged.decide(observation).coefficients, expected, rtol=1e-14)
        assert expected.sum() == pytest.approx(1.0)


def test_averages_go_by_name_and_absent_tasks_keep_theirs():
    averaged = WeightAveraging(Fixed({"a": 1.0, "b": 2.0, "c": 4.0}), momentum=0.5)
    averaged.decide(Observation(TASKS, np.ones(3)))
    averaged.strategy.weights = {"a": 3.0, "b": 0.0, "c": 0.0}
    weights = averaged.decide(Observation(("c", "a"), np.ones(2))).coefficients
    np.testing.assert_array_equal(weights, [2.0, 2.0])
    decision = averaged.decide(Observation(TASKS, np.ones(3)))
    np.testing.assert_array_equal(decision.coefficients, [2.5, 1.0, 1.0])
    np.testing.assert_array_equal(decision.head_coefficients, decision.coefficients)


def test_momentum_zero_changes_nothing():
    averaged, plain = WeightAveraging(NashMTL(), momentum=0.0), NashMTL()
    for observation in observations(3):
        np.testing.assert_array_equal(averaged.decide(observation).coefficients, plain.decide(observation).coefficients)


def test_what_holds_for_a_single_step_is_not_promised_of_averages():
    assert NashMTL().promises.non_conflicting
    promises = WeightAveraging(NashMTL()).promises
    assert not promises.non_conflicting
    assert not promises.descends_mean
    assert WeightAveraging(MGDA()).promises.simplex


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e3])
def test_the_direction_is_as_long_as_allowed(max_norm):
    clipped, plain = ClippedDirection(NashMTL(), max_norm=max_norm), NashMTL()
    for observation in observations(4):
        decision, expected = clipped.decide(observation), plain.decide(observation).coefficients
        length = np.sqrt(expected @ observation.gram @ expected)
        factor = min(1.0, max_norm / length)
        assert decision.records["clip_factor"] == pytest.approx(factor, rel=1e-13)
        np.testing.assert_allclose(decision.coefficients, factor * expected, rtol=1e-13)


def test_clipping_through_the_engine_leaves_task_specific_parameters_alone():
    model = Toy()
    losses = model.losses(*batch())
    step = Engine(ClippedDirection(InverseNorm(), max_norm=0.01), model).backward(losses)
    expected = expected_gradients(model, model.losses(*batch()), step.weights)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-11, atol=1e-15)
    shared = [p.grad for n, p in model.named_parameters() if n.startswith("trunk")]
    assert torch.cat([g.reshape(-1) for g in shared]).norm().item() == pytest.approx(0.01, rel=1e-10)
    assert step.update_norm == pytest.approx(0.01, rel=1e-10)


def test_a_loss_weighting_is_clipped_where_it_weighs_and_not_on_the_heads():
    model = Toy()
    step = Engine(ClippedDirection(InverseLoss(), max_norm=0.01), model).backward(model.losses(*batch()))
    assert step.update_norm == pytest.approx(0.01, rel=1e-10)
    inverse = {task: 1.0 / loss for task, loss in step.losses.items()}
    assert step.head_weights == pytest.approx(inverse, rel=1e-12)
    ratios = [step.weights[task] / inverse[task] for task in inverse]
    assert ratios == pytest.approx([step.records["clip_factor"]] * 3, rel=1e-12)


def test_a_direction_of_its_own_is_clipped_too():
    model = Toy()
    step = Engine(ClippedDirection(GradDrop(), max_norm=0.01), model).backward(model.losses(*batch()))
    assert step.update_norm == pytest.approx(0.01, rel=1e-10)


def test_reused_steps_keep_the_factor_and_cost_one_backward():
    model = Toy()
    engine = Engine(ClippedDirection(InverseNorm(update_frequency=2), max_norm=0.01), model)
    first = engine.backward(model.losses(*batch()))
    passes = model.backward_passes
    clear(model)
    second = engine.backward(model.losses(*batch(seed=5)))
    assert model.backward_passes == passes + 1
    assert second.weights == first.weights
    assert not second.refreshed


def test_measuring_a_reused_step_changes_nothing():
    weights = []
    for measure in (False, True):
        model = Toy()
        engine = Engine(ClippedDirection(InverseNorm(update_frequency=3), max_norm=0.01), model)
        for seed in (1, 2, 3):
            step = engine.backward(model.losses(*batch(seed=seed)), measure=measure)
        weights.append(step.weights)
    assert weights[1] == pytest.approx(weights[0], rel=1e-12)


@each
def test_everything_else_is_the_strategys_own(wrap):
    inner = FAMO(losses_after="forward")
    outer = wrap(inner)
    assert outer.wants_losses_after
    assert outer.kind == "loss weighting"
    assert outer.convention == inner.convention
    inner = Stack(Uncertainty(loss_kind="regression"), PCGrad(update_frequency=4))
    outer = wrap(inner)
    outer.bind(TASKS)
    assert outer.update_frequency == 4
    assert outer.parameters() == inner.parameters() != []
    assert outer.parameter_groups() == inner.parameter_groups()
    observation = next(observations(1))
    assert outer.needs_now(TASKS) == inner.needs_now(TASKS)
    outer.decide(observation)
    assert outer.needs_now(TASKS) == inner.needs_now(TASKS) < Needs.GRAM
    ours, theirs = outer.parameter_gradients(observation), inner.parameter_gradients(observation)
    assert [(p is q, g.item() == h.item()) for (p, g), (q, h) in zip(ours, theirs, strict=True)] == [(True, True)] * 3
    assert wrap(MoDo()).batches == 2
    assert wrap(ExcessMTL()).needs is Needs.ROWS
    assert wrap(NTKMTL(batches=2)).rows_on_features
    assert wrap(Uncertainty()).learned


@pytest.mark.parametrize(
    "compose",
    [*WRAPPERS.values(), lambda weighting: Stack(weighting, MGDA()), lambda weighting: Product(weighting, Equal())],
    ids=[*WRAPPERS, "stack", "product"],
)
def test_a_task_of_weight_zero_is_not_computed(compose):
    weights = {"a": 1.0, "b": 0.0, "c": {"steps": {"values": {"0": 1, "0.5": 0}}}}
    strategy = compose(Static(weights=weights))
    strategy.begin(Horizon(steps=10, steps_per_epoch=10))
    assert strategy.idle_tasks(0) == {"b"}
    assert "b" in strategy.idle_tasks(9)


def test_a_task_whose_average_is_not_zero_yet_is_computed():
    """Whether idle losses are shown or not, the averages are the same."""
    run = Horizon(steps=6, steps_per_epoch=6)
    later, until = {"steps": {"values": {"0": 0, "2 steps": 1}}}, {"steps": {"values": {"0": 1, "2 steps": 0}}}
    shown, hidden = (WeightAveraging(Static(weights={"a": 1, "b": later, "c": until}), momentum=0.5) for _ in "12")
    for strategy in (shown, hidden):
        strategy.begin(run)
    for step, idle in enumerate(("b", "b", "", "", "", "")):
        assert hidden.idle_tasks(step) == set(idle)
        tasks = tuple(task for task in TASKS if task not in idle)
        expected = shown.decide(Observation(TASKS, np.ones(3), step=step)).coefficients.tolist()
        found = hidden.decide(Observation(tasks, np.ones(len(tasks)), step=step)).coefficients.tolist()
        assert found == [weight for task, weight in zip(TASKS, expected, strict=True) if task in tasks]
        assert expected == [1.0, 1 - 0.5 ** max(0, step - 1), 0.5 ** max(0, step - 1)]


@each
def test_losses_after_a_step_and_epochs_reach_the_strategy(wrap):
    inner = FAMO(losses_after="forward")
    outer = wrap(inner)
    observation = next(observations(1))
    outer.decide(observation)
    outer.observe_after(observation)
    assert inner.state_dict()["told"]
    told = []
    inner.end_epoch = lambda: told.append(True)
    outer.end_epoch()
    assert told == [True]


@each
@pytest.mark.parametrize("build", [lambda: PCGrad(seed=3, update_frequency=2), FAMO, MGDA])
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_resuming_from_a_file_goes_on_bit_for_bit(wrap, build, cut):
    steps = list(observations(8))
    whole = wrap(build())
    expected = [whole.decide(observation).coefficients for observation in steps]
    first = wrap(build())
    for observation in steps[:cut]:
        first.decide(observation)
    resumed = wrap(build())
    resumed.load_state_dict(through_a_file(first.state_dict()))
    for observation, coefficients in zip(steps[cut:], expected[cut:], strict=True):
        np.testing.assert_array_equal(resumed.decide(observation).coefficients, coefficients)
    whole.reset()
    np.testing.assert_array_equal(whole.decide(steps[0]).coefficients, expected[0])


def test_the_two_together():
    both, averaged = ClippedDirection(WeightAveraging(NashMTL()), max_norm=0.1), WeightAveraging(NashMTL())
    for observation in observations(3):
        expected = averaged.decide(observation).coefficients
        found = both.decide(observation).coefficients
        assert np.sqrt(found @ observation.gram @ found) == pytest.approx(0.1)
        np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-12)


def test_a_direction_that_has_no_coefficients_cannot_be_averaged():
    with pytest.raises(StrategyError, match="GradDrop is no combination of the gradients"):
        WeightAveraging(GradDrop())

    class Undeclared(GradDrop):
        promises = Promises()

    model = Toy()
    with pytest.raises(StrategyError, match="Undeclared is no combination of the gradients"):
        Engine(WeightAveraging(Undeclared()), model).backward(model.losses(*batch()))


@pytest.mark.parametrize(
    ("wrapper", "options", "what"),
    [
        (WeightAveraging, {"momentum": 1.0}, "momentum = 1.0"),
        (WeightAveraging, {"momentum": -0.1}, "momentum = -0.1"),
        (WeightAveraging, {"alpha": 0.5}, "alpha"),
        (ClippedDirection, {"max_norm": 0.0}, "max_norm = 0.0"),
        (ClippedDirection, {}, "max_norm"),
    ],
)
def test_wrong_options_are_named(wrapper, options, what):
    with pytest.raises(StrategyError, match=what):
        wrapper(MGDA(), **options)
