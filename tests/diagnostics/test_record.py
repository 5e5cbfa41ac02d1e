"""make_record against hand-computed figures of small Gram matrices, and against strict JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from coral_mtl.diagnostics.record import FIELDS, Context, make_record
from coral_mtl.diagnostics.strict import dumps, strict
from coral_mtl.engine.solvers.solution import Solution, Status
from coral_mtl.engine.step import Step
from coral_mtl.errors import StrategyError

CONTEXT = Context(run="r1", strategy_type="NashMTL", step=7, micro_step=14, epoch=2, lr=0.5, clip_factor=0.25)


def measured(**changes):
    gram = np.array([[4.0, -3.0], [-3.0, 9.0]])
    weights = {"a": 2.0, "b": 1.0}
    step = {
        "tasks": ("a", "b"),
        "inactive": {"c": "absent"},
        "losses": {"a": 1.5, "b": 0.25},
        "weights": weights,
        "gram": gram,
        "descent": {"a": 5.0, "b": 3.0},
        "update_norm": math.sqrt(13.0),
        "refreshed": True,
        "solution": Solution(np.ones(2), Status.SOLVED, 1e-12, 4),
        "solver_seconds": 0.002,
        "records": {"nash_objective": np.float64(0.5), "log_variances": {"a": 0.1, "b": -0.1}},
    }
    return Step(**(step | changes))


def test_a_measured_step_has_every_field_with_the_right_figures():
    restraints = {"regularisers": {"sparse": 0.1}, "constraints": {"bound": {"w": {"violation": np.float64(0.5)}}}}
    record = make_record(measured(), replace(CONTEXT, restraints=restraints))

    assert record["constraints"] == {"bound": {"w": {"violation": 0.5}}}
    assert set(record) == {*FIELDS, "nash_objective", "log_variances"}
    assert record["gradient_norm"] == {"a": 2.0, "b": 3.0}
    assert record["gradient_cosine_similarity"] == {"a_vs_b": -0.5}
    assert record["descent"] == {"a": 5.0, "b": 3.0}
    assert record["gradient_update_norm"] == pytest.approx(math.sqrt(13.0))
    assert record["gradient_update_norm_clipped"] == pytest.approx(0.25 * math.sqrt(13.0))
    assert record["solver"] == {
        "reused": False,
        "seconds": 0.002,
        "status": "solved",
        "residual": 1e-12,
        "iterations": 4,
    }
    assert (record["schema"], record["run"], record["step"], record["micro_step"], record["epoch"]) == (
        1,
        "r1",
        7,
        14,
        2,
    )
    assert record["active_tasks"] == ["a", "b"]
    assert record["inactive_tasks"] == {"c": "absent"}
    assert record["skipped"] is None
    assert json.loads(dumps(record)) == record


def test_what_was_not_measured_is_absent_and_neither_zero_nor_null():
    reused = measured(gram=None, descent={}, update_norm=None, solution=None, refreshed=False, records={})
    record = make_record(reused, CONTEXT)

    gradient_fields = {field for field in FIELDS if field.startswith("gradient_")}
    gradient_fields |= {"descent", "regularisers", "constraints"}
    assert set(record) == set(FIELDS) - gradient_fields
    assert record["solver"] == {"reused": True, "seconds": 0.002}
    assert record["task_weights"] == {"a": 2.0, "b": 1.0}


def test_a_skipped_step_says_why_and_has_null_for_what_was_not_finite():
    step = Step(
        inactive={"a": "non-finite loss"}, losses={"a": math.nan, "b": math.inf}, skipped="non-finite loss of task 'a'"
    )
    record = make_record(step, CONTEXT)

    assert record["unweighted_losses"] == {"a": None, "b": None}
    assert record["skipped"] == "non-finite loss of task 'a'"
    assert record["task_weights"] == {}
    assert "solver" not in record
    json.loads(dumps(record), parse_constant=lambda token: pytest.fail(f"{token} is not strict JSON"))


def test_an_own_record_may_not_take_the_name_of_a_field():
    with pytest.raises(StrategyError, match="'step' has the name of a field"):
        make_record(measured(records={"step": 3}), CONTEXT)


def test_an_own_record_that_json_cannot_hold_is_told_with_its_strategy():
    with pytest.raises(StrategyError, match="NashMTL: a figure among its records x cannot be written"):
        make_record(measured(records={"x": object()}), CONTEXT)


def test_strict_turns_arrays_and_non_finite_figures_into_json():
    value = {"a": np.array([1.0, np.nan]), "b": (np.int64(3), np.bool_(True)), 5: -math.inf}
    assert strict(value) == {"a": [1.0, None], "b": [3, True], "5": None}
