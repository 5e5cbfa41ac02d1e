"""Every sequence that another library gives for a schedule of ours, and those of the specification."""

import json
from pathlib import Path

import pytest

from coral_mtl.schedules import (
    AggressiveRestart,
    Constant,
    Cosine,
    Exponential,
    Geometric,
    Horizon,
    Joined,
    Linear,
    Polynomial,
    Restarts,
    StepDecay,
    Steps,
    Warmup,
    WarmupCosine,
)

CONTENT = json.loads((Path(__file__).parents[1] / "reference" / "schedules.json").read_text())
RATES, ALPHA = CONTENT["learning_rates"], CONTENT["alpha"]


def epochs(total):
    return Horizon(total, 1)


def steps_of(multiplier, period, **options):
    return Restarts(period=f"{period} steps", multiplier=multiplier, **options)


def cosine_to(warmup, floor=0.0):
    return WarmupCosine(warmup=f"{warmup} steps", floor=floor)


def decay(power, floor):
    return Warmup(length="10 steps", then=Polynomial(start=1.0, end=floor, power=power, length=1.0))


AFTER_WARMUP = Warmup(length="5 steps", start=0.1, then=steps_of(1.5, 10))
THREE_CYCLES = Warmup(length="5 steps", then=steps_of(1, 15, floor=0.0))
MULTISTEP = Steps(values={0: 1.0, "15 epochs": 0.1, "25 epochs": 0.01, "35 epochs": 0.001})
PER_BATCH = AggressiveRestart(escape_lr_multiplier=4.0)


@pytest.mark.parametrize(
    ("name", "schedule", "run", "base", "count"),
    [
        ("transformers_cosine_warmup10_total100", cosine_to(10), epochs(100), 1e-4, 101),
        ("transformers_cosine_warmup0_total100", cosine_to(0), epochs(100), 1e-4, 101),
        ("transformers_cosine_min_lr_warmup10_total100_1e-6", cosine_to(10, 0.01), epochs(100), 1e-4, 101),
        ("transformers_polynomial_warmup10_total100_p1_end1e-6", decay(1.0, 0.01), epochs(100), 1e-4, None),
        ("transformers_polynomial_warmup10_total100_p0.9_end0", decay(0.9, 0.0), epochs(100), 6e-5, None),
        ("transformers_hard_restarts_warmup5_total50_cycles3", THREE_CYCLES, epochs(50), 1.0, 50),
        ("torch_linear5_then_cosine", WarmupCosine(warmup=0.2, floor=0.001, start=0.1), epochs(25), 1.0, None),
        ("torch_warm_restarts_T0_10_mult_1", steps_of(1, 10), epochs(100), 1e-4, None),
        ("torch_warm_restarts_T0_10_mult_2", steps_of(2, 10), epochs(100), 1e-4, None),
        ("torch_warm_restarts_T0_1_mult_2", steps_of(2, 1), epochs(100), 1e-4, None),
        ("torch_warm_restarts_T0_20_mult_1", steps_of(1, 20), epochs(100), 1e-4, None),
        ("torch_aggressive_per_batch", PER_BATCH, Horizon(24, 8), 5e-5, 24),
        ("torch_multistep_15_25_35", MULTISTEP, epochs(41), 1e-3, 41),
        ("torch_step_10_0.1", StepDecay(factor=0.1, every="10 epochs"), epochs(31), 1e-4, 31),
        ("timm_restarts_mult_1.5_warmup0", steps_of(1.5, 10), epochs(60), 1.0, 60),
        ("timm_restarts_mult_1.5_warmup5_prefix", AFTER_WARMUP, epochs(60), 1.0, 60),
        ("timm_restarts_mult_0.5", steps_of(0.5, 10), epochs(19), 1.0, 19),
        ("timm_restarts_mult_2_decay_0.5", steps_of(2, 10, decay=0.5, floor=0.0), epochs(71), 1.0, 71),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_learning_rates(name, schedule, run, base, count):
    curve, expected = schedule.bind(run), RATES[name][:count]
    assert len(expected) > 18
    ours = [base * curve(step) for step in range(len(expected))]
    assert ours == pytest.approx(expected, rel=1e-12, abs=1e-12 * base)


def test_rates_of_the_perceptual_trainer():
    half = Joined(parts=[Constant(), Linear(start=1.0, end=0.0, length=1.0)], lengths=["5 epochs"]).bind(Horizon(10, 1))
    assert [1e-4 * half(epoch) for epoch in range(10)] == pytest.approx(CONTENT["perceptual_trainer"], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "total", "start"),
    [("100_epochs_0.9_to_0.2", 100, 0.9), ("10_epochs_1.0_to_0.2", 10, 1.0), ("2_epochs_0.9_to_0.2", 2, 0.9)],
)
@pytest.mark.parametrize(
    ("shape", "ramp"), [("linear", Linear), ("cosine", Cosine), ("exponential_between_ends", Geometric)]
)
def test_alpha(name, total, start, shape, ramp):
    curve, expected = ramp(start=start, end=0.2).bind(epochs(total)), ALPHA[name][shape]
    assert [curve(step) for step in range(len(expected))] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("fork_cosine_100_epochs_0.9_to_0.2", Cosine(start=0.9, end=0.2)),
        ("fork_linear_100_epochs_0.9_to_0.2", Linear(start=0.9, end=0.2)),
        ("fork_step_100_epochs_0.9_to_0.2", Steps(values={0: 0.9, 0.5: 0.55, 0.75: 0.2})),
        ("document_exponential_0.9_exp_-0.05_epoch", Exponential(start=0.9, rate=0.05)),
    ],
)
def test_alpha_of_the_specification(name, schedule):
    curve, expected = schedule.bind(epochs(100)), ALPHA[name]
    assert [curve(step) for step in range(len(expected))] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(("shape", "ramp"), [("linear", Linear), ("cosine", Cosine)])
def test_weights_that_move_from_structure_to_boundary(shape, ramp):
    def after_start(start, end):
        return Joined(parts=[Constant(), ramp(start=start, end=end, length=1.0)], lengths=["10 epochs"])

    dice, focal = (schedule.bind(epochs(100)) for schedule in (after_start(2.0, 0.1), after_start(0.1, 2.0)))
    expected = zip(*CONTENT["structure_boundary"][shape], strict=True)
    for curve, values in zip((dice, focal), expected, strict=True):
        assert [curve(epoch) for epoch in range(105)] == pytest.approx(list(values), rel=0, abs=1e-12)


def test_past_the_end_the_value_stays_where_peers_let_it_rise():
    curve, peer = WarmupCosine(warmup="2 steps", floor=0.0).bind(epochs(10)), RATES["transformers_cosine_beyond_total"]
    assert [curve(step) for step in range(10)] == pytest.approx(peer[:10], rel=1e-12, abs=1e-12)
    assert max(peer[10:]) > 0.03
    assert [curve(step) for step in range(10, 20)] == [0.0] * 10
