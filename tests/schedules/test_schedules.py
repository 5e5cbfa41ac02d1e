import math

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from coral_mtl.errors import ConfigError
from coral_mtl.registry import schedules
from coral_mtl.schedules import (
    PRESETS,
    AggressiveRestart,
    Clamped,
    Constant,
    Cosine,
    Exponential,
    Geometric,
    Horizon,
    Joined,
    Knots,
    Linear,
    Polynomial,
    PolynomialDecay,
    Restarts,
    StepDecay,
    Steps,
    Warmup,
    WarmupCosine,
    curve_of,
    polynomial_decay,
    preset,
    schedule_of,
)

RUN = Horizon(steps=100, steps_per_epoch=10)
EVERY_SCHEDULE = {
    "AggressiveRestart": AggressiveRestart(),
    "Clamped": Clamped(schedule=Exponential(rate=0.1), until=0.5),
    "Constant": Constant(value=0.3),
    "Cosine": Cosine(start=0.9, end=0.2, length="7 epochs"),
    "Exponential": Exponential(rate=0.1),
    "Geometric": Geometric(start=0.1, end=1e-4),
    "Joined": Joined(parts=[Constant(value=1.0), Linear(start=1.0, end=0.0)], lengths=[0.25]),
    "Knots": Knots(values={0.1: 0.0, 0.5: 2.0, 0.9: 1.0}),
    "Linear": Linear(start=0.0, end=3.0),
    "Polynomial": Polynomial(start=1.0, end=0.1, power=2.0),
    "PolynomialDecay": PolynomialDecay(),
    "Restarts": Restarts(period="2 epochs", multiplier=1.5),
    "StepDecay": StepDecay(factor=0.1, every="3 epochs"),
    "Steps": Steps(values={0: 0.9, 0.5: 0.2}),
    "Warmup": Warmup(length="1 epoch", then=Constant()),
    "WarmupCosine": WarmupCosine(warmup=0.1, floor=0.01),
}


def test_every_schedule_is_here():
    assert sorted(EVERY_SCHEDULE) == schedules.names()


@pytest.mark.parametrize("name", EVERY_SCHEDULE)
def test_a_curve_is_a_pure_function(name):
    curve = EVERY_SCHEDULE[name].bind(RUN)
    forwards = [curve(step) for step in range(100)]
    assert [curve(step) for step in reversed(range(100))] == forwards[::-1]
    assert [EVERY_SCHEDULE[name].bind(RUN)(step) for step in range(100)] == forwards
    assert all(math.isfinite(value) for value in forwards)


@pytest.mark.parametrize("name", EVERY_SCHEDULE)
def test_learning_rates_keep_the_ratios_of_the_groups_and_checkpoints_keep_no_curve(name):
    curve = EVERY_SCHEDULE[name].bind(RUN)
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1e-4, 1e-5)]
    optimizer = torch.optim.SGD(groups)
    rates = LambdaLR(optimizer, curve)
    for step in range(20):
        assert [group["lr"] for group in optimizer.param_groups] == [1e-4 * curve(step), 1e-5 * curve(step)]
        optimizer.step()
        rates.step()
    assert all(not kept for kept in rates.state_dict()["lr_lambdas"])


@pytest.mark.parametrize("ramp", [Linear, Cosine, Geometric, Polynomial])
def test_a_ramp_uses_both_ends_and_stays(ramp):
    curve = ramp(start=0.9, end=0.2).bind(Horizon(11, 1))
    assert [curve(0), curve(10), curve(11), curve(10**6)] == [0.9, 0.2, 0.2, 0.2]
    assert [curve(step) for step in range(11)] == sorted((curve(step) for step in range(11)), reverse=True)


def test_shapes_of_ramps_at_a_quarter():
    assert Linear(start=1.0, end=0.0, length=1.0).bind(RUN)(25) == 0.75
    assert Cosine(start=1.0, end=0.0, length=1.0).bind(RUN)(25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert Geometric(start=1.0, end=1e-4, length=1.0).bind(RUN)(25) == pytest.approx(0.1)
    assert Polynomial(start=1.0, end=0.2, power=2.0, length=1.0).bind(RUN)(25) == pytest.approx(0.2 + 0.8 * 0.5625)


@pytest.mark.parametrize("ramp", [Linear, Cosine, Geometric, Polynomial])
def test_a_run_of_one_step_is_at_the_end(ramp):
    assert ramp(start=0.9, end=0.2).bind(Horizon(1, 1))(0) == 0.2


@pytest.mark.parametrize("ends", [{"start": 0.0, "end": 1.0}, {"start": 1.0, "end": 0.0}, {"start": -1.0, "end": 1.0}])
def test_a_geometric_ramp_has_ends_above_zero(ends):
    with pytest.raises(ConfigError, match="Geometric"):
        Geometric(**ends)


def test_thresholds_are_right_continuous():
    curve = Steps(values={0: 0.9, "2 epochs": 0.55, 0.75: 0.2}).bind(RUN)
    assert [curve(step) for step in (0, 19, 20, 74, 75, 99)] == [0.9, 0.9, 0.55, 0.55, 0.2, 0.2]


def test_step_decay_is_exact_where_the_quotient_is_not():
    curve = StepDecay(factor=0.5, every=0.1).bind(Horizon(33, 1))  # 33 / 3.3 is below 10 in floating point
    assert curve(33) == 0.5**10
    assert curve(32) == 0.5**9


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda: Steps(values={0.5: 1.0}), "the first value must be the one from time 0 on"),
        (lambda: Steps(values={}), "the first value must be the one from time 0 on"),
        (lambda: Knots(values={0: 1.0}), "two values or more"),
        (lambda: StepDecay(factor=0.1, every="0 epochs"), "an interval of 0 epochs never passes"),
        (lambda: Restarts(period=0), "a period of 0 of the run never passes"),
        (lambda: Restarts(period="1 epoch", multiplier=0.0), "multiplier"),
        (lambda: Restarts(period="1 epoch", multiplier=-2.0), "multiplier"),
        (lambda: Restarts(period="1 epoch", peak=0.001), "the peak 0.001 is below the floor 0.01"),
        (lambda: AggressiveRestart(escape_lr_multiplier=0.0), "escape_lr_multiplier"),
        (lambda: Joined(parts=[Constant()], lengths=[]), "1 parts and 0 lengths"),
        (lambda: Joined(parts=[Constant(), Constant()], lengths=[0.5, 0.5]), "2 parts and 2 lengths"),
        (lambda: Cosine(start=1.0, end=0.0, length="ten epochs"), "is not a length of time"),
    ],
)
def test_what_no_run_could_follow_is_refused_at_construction(schedule, message):
    with pytest.raises(ConfigError, match=message):
        schedule()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (WarmupCosine(warmup="10 epochs"), "a warm-up of 100 steps does not fit into 100"),
        (WarmupCosine(warmup="200 steps"), "a warm-up of 200 steps does not fit into 100"),
        (WarmupCosine(warmup=1.0), "it must end before training does"),
        (PolynomialDecay(warmup="10 epochs"), "does not fit"),
        (Steps(values={0: 1.0, "10 epochs": 0.1}), "it would never be used"),
        (Steps(values={0: 1.0, "5 epochs": 0.1, 0.4: 0.2}), "must increase, but 0 of the run is step 0, 5 epochs"),
        (Knots(values={"50 steps": 1.0, 0.5: 0.1}), "must increase"),
        (Joined(parts=[Constant(), Constant()], lengths=["100 steps"]), "the last part begins at step 100"),
        (AggressiveRestart(), "is over at once"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_when_bound(schedule, message):
    run = Horizon(5, 1) if isinstance(schedule, AggressiveRestart) else RUN
    with pytest.raises(ConfigError, match=message):
        schedule.bind(run)


def test_knots_in_both_shapes():
    values = {"10 steps": 1.0, "30 steps": 3.0, "50 steps": 2.0}
    straight, eased = (Knots(values=values, shape=shape).bind(RUN) for shape in ("linear", "cosine"))
    assert [straight(step) for step in (0, 10, 15, 30, 40, 50, 99)] == [1.0, 1.0, 1.5, 3.0, 2.5, 2.0, 2.0]
    assert eased(15) == pytest.approx(1 + 2 * (1 - math.sqrt(0.5)) / 2)
    assert [eased(step) for step in (0, 10, 30, 40, 50, 99)] == pytest.approx([1.0, 1.0, 3.0, 2.5, 2.0, 2.0])


def test_a_warm_up_rises_to_the_first_value_of_what_follows():
    curve = Warmup(length="10 steps", start=0.1, then=Linear(start=2.0, end=1.0)).bind(RUN)
    assert [curve(step) for step in (0, 5, 10, 99)] == pytest.approx([0.2, 1.1, 2.0, 1.0])


def test_a_warm_up_may_be_absent():
    assert WarmupCosine(warmup="0 epochs").bind(RUN)(0) == 1.0


def test_parts_count_from_their_own_beginning():
    second = Warmup(length=0.5, then=Linear(start=1.0, end=0.0))
    curve = Joined(parts=[Constant(value=7.0), second], lengths=["2 epochs"]).bind(RUN)
    assert [curve(step) for step in (0, 19, 20, 40, 60, 99)] == pytest.approx([7.0, 7.0, 0.0, 0.5, 1.0, 0.0])


def test_two_stages_with_a_new_warm_up():
    curve = Joined(parts=[WarmupCosine(), WarmupCosine(warmup="1 epoch")], lengths=[0.7]).bind(RUN)
    assert [curve(0), curve(70), curve(75), curve(80)] == [1.0, 0.0, 0.5, 1.0]
    assert curve(69) == pytest.approx((1 + math.cos(math.pi * 69 / 70)) / 2)


def test_a_clamped_curve_stands_still():
    curve = Clamped(schedule=Exponential(rate=1.0, per="10 steps"), until="30 steps").bind(RUN)
    assert [curve(20), curve(30), curve(99)] == pytest.approx([math.exp(-2), math.exp(-3), math.exp(-3)])


def test_polynomial_decay_is_the_optimisers():
    curve = PolynomialDecay(warmup=0.17, power=0.9, floor=0.01).bind(RUN)
    assert [curve(step) for step in range(105)] == [
        polynomial_decay(step, total=100, warmup=17, power=0.9, end_factor=0.01) for step in range(105)
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_run(name):
    found = preset(name)
    curve = curve_of(found.schedule, Horizon(steps=2000, steps_per_epoch=20))
    rates = [found.learning_rate * curve(step) for step in range(2000)]
    assert 1e-5 <= max(rates) < 3e-4
    assert min(rates) < 0.011 * max(rates)


def test_the_table_of_aggressive_restarts():
    aggressive = {name: p for name, p in PRESETS.items() if "aggressive_restart" in p.schedule}
    table = {name: (schedule_of(name).peak, p.learning_rate) for name, p in aggressive.items()}
    ranges = {
        "fresh_training": (2.0, 3.0, 1e-4),
        "checkpoint_resume": (3.0, 4.0, 5e-5),
        "desperate_escape": (4.0, 6.0, 3e-5),
        "fine_tuning": (1.5, 2.0, 1e-5),
    }
    assert table == {name: ((low + high) / 2, rate) for name, (low, high, rate) in ranges.items()}


def test_a_preset_that_does_not_exist():
    with pytest.raises(ConfigError, match='did you mean "fine_tuning"'):
        preset("finetuning")
