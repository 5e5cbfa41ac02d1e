import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coral_mtl.schedules import (
    AggressiveRestart,
    Clamped,
    Constant,
    Horizon,
    Joined,
    Restarts,
    Warmup,
    unfinished_cycle,
)


def exact_cycle(step, period, multiplier, shortest):
    """Index, start and length of the cycle of a step, in exact arithmetic."""
    index, start, length = 0, Fraction(0), Fraction(period)
    shortest = min(length, shortest)
    while step >= start + length:
        index, start, length = index + 1, start + length, max(length * Fraction(multiplier), shortest)
    return index, start, length


@given(
    period=st.integers(1, 60),
    multiplier=st.sampled_from(["0.3", "0.5", "0.9", "1", "1.1", "1.3", "1.5", "1.7", "2", "3"]),
    per_epoch=st.sampled_from([1, 5, 7]),
    step=st.integers(0, 3000),
)
def test_the_cycle_of_a_step_is_that_of_exact_arithmetic(period, multiplier, per_epoch, step):
    restarts = Restarts(period=f"{period} steps", multiplier=float(multiplier), floor=0.0)
    cycle = restarts.cycle(step, Horizon(10_000, per_epoch))
    index, start, length = exact_cycle(step, period, multiplier, per_epoch)
    assert cycle.index == index
    assert cycle.start == pytest.approx(float(start), rel=1e-9)
    assert cycle.length == pytest.approx(float(length), rel=1e-9)


@pytest.mark.parametrize(
    ("period", "multiplier", "steps"),
    [
        ("1 epochs", 3.0, [1, 4, 13, 40, 121, 364, 1093]),  # torch and timm are at their lowest at 121
        ("10 steps", 1.1, [10, 21]),  # 10 * 1.1 is above 11 in floating point
        ("10 steps", 1.5, [10, 25]),
        (0.01, 1.0, [15, 30, 150, 1485]),
    ],
)
def test_the_first_step_of_a_cycle_is_at_its_peak(period, multiplier, steps):
    curve = Restarts(period=period, multiplier=multiplier, floor=0.0).bind(Horizon(1500, 1))
    assert [curve(step) for step in steps] == [1.0] * len(steps)


def test_a_period_of_part_of_a_step():
    curve = Restarts(period="2.5 steps", floor=0.0).bind(Horizon(100, 1))
    expected = [(1 + math.cos(math.pi * share)) / 2 for share in (0.0, 0.4, 0.8, 0.2, 0.6)]
    assert [curve(step) for step in range(10)] == pytest.approx(expected * 2)


def test_shrinking_cycles_stop_at_an_epoch():
    restarts = Restarts(period="8 epochs", multiplier=0.5)
    run = Horizon(200, 10)
    assert [restarts.cycle(step, run).length for step in (0, 80, 120, 140, 150, 199)] == [80, 40, 20, 10, 10, 10]
    assert Restarts(period="4 steps", multiplier=0.5).cycle(50, run).length == 4


def test_a_decayed_peak_never_falls_below_the_floor():
    curve = Restarts(period="1 epochs", decay=0.1, floor=0.05).bind(Horizon(50, 10))
    assert [curve(step) for step in (0, 10, 20, 25, 40)] == pytest.approx([1.0, 0.1, 0.05, 0.05, 0.05])


def test_a_run_that_stops_in_the_middle_of_a_cycle():
    found = unfinished_cycle(Restarts(period="10 epochs", multiplier=2.0), Horizon(450, 10))
    assert (found.cycle.index, found.cycle.start, found.cycle.length) == (2, 300, 400)
    assert (found.progress, found.shorter, found.longer) == (0.375, 300, 700)


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (Restarts(period="10 epochs", multiplier=2.0), 700, None),
        (Restarts(period="10 epochs"), 300, None),
        (Restarts(period="10 epochs"), 50, (0, 100)),
        (AggressiveRestart(), 500, None),
        (AggressiveRestart(), 505, (500, 510)),
        (Restarts(period=0.25), 500, None),
        (Warmup(length="5 epochs", then=Restarts(period="10 epochs")), 350, None),
        (Warmup(length="5 epochs", then=Restarts(period="10 epochs")), 400, (350, 450)),
        (Joined(parts=[Constant(), Restarts(period="10 epochs")], lengths=["3 epochs"]), 130, None),
        (Joined(parts=[Constant(), Restarts(period="10 epochs")], lengths=["3 epochs"]), 200, (130, 230)),
        (Clamped(schedule=Restarts(period="10 epochs")), 150, (100, 200)),
        (Clamped(schedule=Restarts(period="10 epochs"), until="9 epochs"), 150, None),
        (Constant(), 123, None),
    ],
)
def test_which_runs_end_in_mid_cycle(schedule, steps, expected):
    found = unfinished_cycle(schedule, Horizon(steps, 10))
    assert (found and (found.shorter, found.longer)) == expected
