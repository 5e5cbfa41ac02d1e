"""Schedules as written: what they become, and that every mistake is told where it is."""

import json

import pytest
from pydantic import ValidationError

from coral_mtl.errors import ConfigError
from coral_mtl.options import options_model
from coral_mtl.schedules import (
    AggressiveRestart,
    Constant,
    Cosine,
    Horizon,
    Joined,
    Linear,
    Restarts,
    Steps,
    Warmup,
    bounded_curve,
    curve_of,
    schedule_of,
)

RUN = Horizon(steps=100, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.5, Constant(value=0.5)),
        (2, Constant(value=2.0)),
        ({"cosine": {"start": 0.9, "end": 0.2}}, Cosine(start=0.9, end=0.2)),
        ({"Cosine": {"start": 0.9, "end": 0.2}}, Cosine(start=0.9, end=0.2)),
        ("aggressive_restart", AggressiveRestart()),
        ("warm_restarts", Restarts(period="20 epochs")),
        ("fine_tuning", AggressiveRestart(escape_lr_multiplier=1.75)),
        ({"steps": {"values": {"0": 1, "0.5": 0.3, "70 steps": 0.1}}}, Steps(values={0: 1, 0.5: 0.3, "70 steps": 0.1})),
        (
            {"warmup": {"length": 0.1, "then": {"cosine": {"start": 1, "end": 0}}}},
            Warmup(length="10 steps", then=Cosine(start=1, end=0)),
        ),
        (
            {"joined": {"parts": [1.0, {"linear": {"start": 1, "end": 0, "length": 1.0}}], "lengths": ["5 epochs"]}},
            Joined(parts=[Constant(), Linear(start=1, end=0, length=1.0)], lengths=[0.5]),
        ),
    ],
)
def test_what_is_written_is_what_is_built(written, meant):
    curve, expected = curve_of(written, RUN), meant.bind(RUN)
    assert [curve(step) for step in range(100)] == [expected(step) for step in range(100)]


def test_a_schedule_stands_for_itself():
    schedule = Cosine(start=1.0, end=0.0)
    assert schedule_of(schedule) is schedule


def problems(then):
    """What is wrong with a schedule inside a warm-up, by its path within, in YAML."""
    written = json.dumps({"length": 0.1, "then": then})
    with pytest.raises(ValidationError) as caught:
        options_model(Warmup).model_validate_json(written, strict=True)
    return {error["loc"][1:]: error["msg"] for error in caught.value.errors()}


@pytest.mark.parametrize(
    ("then", "place", "told"),
    [
        ({"cosin": {}}, (), 'did you mean "cosine"?'),
        ("warm_restart", (), 'did you mean "warm_restarts"?'),
        ("cosine", ("cosine", "start"), "Field required"),
        ({"cosine": {"start": 1, "end": 0, "lenght": 3}}, ("cosine", "lenght"), "Extra inputs"),
        ({"cosine": {"start": "1", "end": 0}}, ("cosine", "start"), "valid number"),
        (
            {"cosine": {"start": 1, "end": 0, "length": "3 epoch s"}},
            ("cosine", "length"),
            "is not a length of time",
        ),
        ({"cosine": {"start": 1, "end": 0}, "linear": {"start": 1, "end": 0}}, (), "a mapping of one name"),
        ([1.0], (), "a mapping of one name"),
        (True, (), "a mapping of one name"),
        ({"restarts": {"period": "0 epochs"}}, (), "never passes"),
        ({"restarts": {"period": 0.1, "peak": 0.001}}, (), "below the floor"),
        ({"joined": {"parts": [1.0], "lengths": []}}, (), "two parts or more"),
        (
            {"joined": {"parts": [1.0, {"geometric": {"start": 0, "end": 1}}], "lengths": [0.5]}},
            ("joined", "parts", 1, "geometric", "start"),
            "greater than 0",
        ),
    ],
)
def test_mistakes_are_told_at_their_place(then, place, told):
    found = problems(then)
    (message,) = [text for path, text in found.items() if path[: len(place)] == place and told in text]
    assert told in message


def test_values_out_of_range_are_told_with_their_step():
    falling = {"linear": {"start": 1.0, "end": -1.0, "length": 1.0}}
    with pytest.raises(ConfigError, match=r"weight of ink is -0\.02 at step 51, and must be 0 or above"):
        bounded_curve("weight of ink", falling, RUN)
    with pytest.raises(ConfigError, match=r"rho is 0 at step 50, and must be above 0"):
        bounded_curve("rho", falling, RUN, positive=True)
    assert bounded_curve("rho", {"geometric": {"start": 0.1, "end": 1e-4}}, RUN, positive=True)(0) == 0.1
