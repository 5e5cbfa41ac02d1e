"""Weights that never move and weights that go stale, under every registered strategy."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from simulated_runs import TASKS, healthy, run, swinging, write
from stateful_values import SHAPES, flat, observe_rows

from coral_mtl import registry
from coral_mtl.diagnostics.diagnosis import diagnose
from coral_mtl.diagnostics.finding import Severity
from coral_mtl.diagnostics.record import Context, make_record
from coral_mtl.engine.setting import account
from coral_mtl.schedules import Horizon

SEEDS = 50
OPTIONS = {
    "Static": lambda tasks: {"weights": dict.fromkeys(tasks, 1.0)},
    "Mixture": lambda tasks: {"term": tasks[0]},
    "Curriculum": lambda tasks: {"plan": "complexity_cascade", "terms": list(tasks)},
    "Switch": lambda tasks: {
        "weights": [dict.fromkeys(tasks, 1.0), dict.fromkeys(tasks, 2.0)],
        "ratio": tasks[:2],
        "thresholds": [1.0],
    },
}
"""Options of the strategies that cannot do without, from the task names."""
WIDTH = sum(int(np.prod(shape)) for shape in SHAPES.values())


def findings_of(path, records):
    [diagnosis] = diagnose(write(path, records))
    return diagnosis.findings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def decided(name, tasks, agreement, longest, records=40):
    """What a strategy decides on random gradients with something in common, of which the first is `longest` times."""
    cls, rng = registry.strategies.get(name), np.random.default_rng(0)
    strategy = cls(**OPTIONS.get(name, lambda tasks: {})(tasks))
    strategy.bind(tasks)
    strategy.begin(Horizon(steps=records, steps_per_epoch=10))
    common = agreement * rng.normal(size=WIDTH)
    for number in range(1, records + 1):
        batches = common + rng.normal(size=(strategy.batches, len(tasks), WIDTH))
        batches[:, 0] *= longest
        losses = 3.0 * number**-0.5 * np.exp(0.1 * rng.normal(size=len(tasks)))
        observation = replace(observe_rows(*batches, losses=losses, tasks=tasks), step=number - 1)
        decision = strategy.decide(observation)
        if strategy.wants_losses_after:
            strategy.observe_after(replace(observation, losses=0.99 * losses))
        for parameter, gradient in strategy.parameter_gradients(observation):
            parameter.data -= 0.01 * gradient
        rows = batches.mean(0)
        if decision.direction is not None:
            rows = np.vstack([rows, flat(decision.direction)])
        extended = None if decision.direction is None else rows @ rows.T
        step = account(observation, decision, dict(zip(tasks, losses, strict=True)), {}, 0.0, extended_gram=extended)
        yield make_record(step, Context("r", name, number, number, 0, 1e-3))


@pytest.mark.parametrize("name", registry.strategies.names())
@pytest.mark.parametrize(("agreement", "longest"), [(3.0, 1.0), (0.5, 1.0), (0.5, 100.0)])
def test_no_strategy_is_called_frozen_for_what_it_rightly_does(path, name, agreement, longest):
    for tasks in (("a", "b"), ("a", "b", "c")):
        kinds = [finding.kind for finding in findings_of(path, decided(name, tasks, agreement, longest))]
        assert "frozen" not in kinds


@pytest.mark.parametrize("name", registry.strategies.names())
def test_constant_weights_are_judged_by_what_the_class_declares(path, name):
    fields = {"strategy_type": name, "gradient_cosine_similarity": {"a_vs_b": -0.1}}
    found = findings_of(path, run(lambda step: {"epoch": step // 30} | fields))
    expected = registry.strategies.get(name).steady in ("never", "without conflict")
    assert ("frozen" in [finding.kind for finding in found]) == expected


@pytest.mark.parametrize(
    ("strategy", "fields", "frozen"),
    [
        ("Uncertainty", {}, True),
        ("NashMTL", {}, True),
        ("Equal", {}, False),
        ("Static", {}, False),
        ("Unheard of", {}, False),
        ("PCGrad", {}, False),
        ("PCGrad", {"gradient_cosine_similarity": {"a_vs_b": -0.1}}, True),
        ("PCGrad", {"gradient_norm": {}, "gradient_cosine_similarity": {}}, True),
        ("Static+PCGrad", {}, False),
        ("MGDA", {"task_weights": {"a": 0.0, "b": 1.0}}, False),
        ("DWA", {"epoch": 1}, False),
        ("Uncertainty+PCGrad", {}, True),
    ],
)
def test_weights_that_never_move_are_found_where_they_should(path, strategy, fields, frozen):
    found = findings_of(path, run(lambda step: {"strategy_type": strategy} | fields))
    assert [f.kind for f in found if f.kind == "frozen"] == (["frozen"] if frozen else [])


def test_one_frozen_weight_among_moving_ones_is_a_warning(path):
    weights = ({"a": 1.0, "b": 1.0 + step / 1000} for step in range(1000))
    records = run(lambda step: {"strategy_type": "Uncertainty", "task_weights": next(weights)})
    [found] = findings_of(path, records)
    assert (found.kind, found.severity, found.tasks) == ("frozen", Severity.WARNING, ("a",))


def test_cached_weights_do_not_count_as_frozen_ones(path):
    def change(step):
        return {"strategy_type": "NashMTL", "solver": {"reused": step % 10 != 0, "status": "solved"}}

    assert findings_of(path, run(change)) == ()  # ten decisions are too few to judge


@pytest.mark.slow
def test_weights_that_swing_between_refreshes_are_stale(path):
    for seed in range(SEEDS):
        records = list(healthy(seed, "NashMTL", swinging(), tasks=TASKS, records=110 + seed, every=5))
        [found] = [finding for finding in findings_of(path, records) if finding.kind == "stale"]
        assert found.figures["interval"] == 5
        decisions = [np.array(list(r["task_weights"].values())) for r in records if not r["solver"]["reused"]]
        changes = [
            abs(new - old).sum() / max(abs(new).sum(), abs(old).sum()) for old, new in itertools.pairwise(decisions)
        ]
        assert found.figures["change"] == pytest.approx(np.mean(changes))
        assert found.figures["share"] == pytest.approx(np.mean(np.array(changes) >= 0.5))
        beyond = np.flatnonzero(np.array(changes) >= 0.5)
        assert found.steps == (6 + 5 * beyond[0], 6 + 5 * beyond[-1])


@pytest.mark.slow
def test_reused_weights_that_hardly_change_are_not_stale(path):
    for seed in range(SEEDS):
        assert findings_of(path, healthy(seed, "NashMTL", records=110 + seed, every=5)) == (), seed


def test_decisions_with_steps_between_them_that_have_no_record_are_not_compared(path):
    records = list(healthy(0, "NashMTL", swinging(), tasks=TASKS, records=2000, every=4))
    thinned = [record for record in records if record["step"] % 10 == 1]
    assert {record["solver"]["reused"] for record in thinned} == {True, False}
    assert "stale" in [finding.kind for finding in findings_of(path, records)]
    assert "stale" not in [finding.kind for finding in findings_of(path, thinned)]


def test_weights_that_swing_without_reuse_are_not_stale(path):
    kinds = [f.kind for f in findings_of(path, healthy(0, "NashMTL", swinging(), tasks=TASKS, records=150))]
    assert "stale" not in kinds
