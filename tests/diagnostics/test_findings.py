"""Findings on simulated runs: what is planted is found under the right names, and nothing else is."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from simulated_runs import TASKS, conflict, dead, divergence, healthy, hurt, imbalance, run, write

from coral_mtl.diagnostics.diagnosis import diagnose
from coral_mtl.diagnostics.finding import KINDS, Severity
from coral_mtl.diagnostics.thresholds import DEFAULT

SEEDS = 50
CASES = {
    "imbalance": ({"ailment": imbalance("health"), "strategy": "Equal"}, "imbalance", {"health"}, {"domination"}),
    "balanced": ({"ailment": imbalance("health"), "strategy": "NashMTL"}, "imbalance", {"health"}, set()),
    "tiny": ({"ailment": imbalance("cover", 0.01), "strategy": "Equal"}, "imbalance", {"cover"}, set()),
    "conflict": ({"ailment": conflict("genus", "cover")}, "conflict", {"genus", "cover"}, {"hurt"}),
    "dead": ({"ailment": dead("cover")}, "dead", {"cover"}, set()),
    "hurt": ({"ailment": hurt("cover"), "strategy": "Equal"}, "hurt", {"cover"}, {"conflict"}),
    "frozen": ({"strategy": "GradNorm"}, "frozen", set(TASKS), set()),
    "divergence": ({"ailment": divergence("cover")}, "divergence", {"cover"}, set()),
}


def findings_of(path, records):
    [diagnosis] = diagnose(write(path, records))
    return diagnosis.findings


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_planted_is_found_and_nothing_else(tmp_path, case):
    options, kind, tasks, companions = CASES[case]
    for seed in range(SEEDS):
        findings = findings_of(tmp_path / "run.jsonl", healthy(seed, tasks=TASKS, records=60 + 2 * seed, **options))
        assert {name for f in findings if f.kind == kind for name in f.tasks} == tasks, seed
        others = [f for f in findings if f.kind != kind]
        assert {f.kind for f in others} <= companions, seed
        assert all(tasks & set(f.tasks) for f in others), seed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "records"), [("Equal", None), ("Uncertainty", None), ("NashMTL", None), ("IMGrad", 60)]
)
def test_nothing_is_found_where_nothing_is_planted(tmp_path, strategy, records):
    for seed in range(SEEDS):
        assert findings_of(tmp_path / "run.jsonl", healthy(seed, strategy, records=records)) == (), seed


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise",
    [
        {},
        {"cosine": 0.0, "spread": 0.3},
        {"records": 25, "cosine": 0.0},
        {"norms": 0.8},
        {"losses": 0.6, "records": 40},
        {"losses": 0.6, "learns": False},
        {"drift": 0.9, "records": 250},
        {"tasks": 2, "cosine": 0.0, "spread": 0.3},
    ],
    ids=str,
)
def test_noise_of_many_kinds_is_no_finding(tmp_path, noise):
    for seed in range(SEEDS):
        assert findings_of(tmp_path / "run.jsonl", noisy(seed, **noise)) == (), seed


def noisy(seed, *, tasks=4, records=130, cosine=0.05, spread=0.2, norms=0.3, losses=0.2, learns=True, drift=0.0):
    """Foreign records of pure noise: cosines with AR(1) correlation `drift`, log-normal norms and losses."""
    rng = np.random.default_rng(seed)
    names = [f"t{place}" for place in range(tasks)]
    pairs = list(itertools.combinations(range(tasks), 2))
    sizes, state, weights = 10 ** rng.uniform(-0.3, 0.3, tasks), rng.normal(size=len(pairs)), np.ones(tasks)
    for step in range(records):
        state = drift * state + np.sqrt(1 - drift**2) * rng.normal(size=len(pairs))
        cosines = np.clip(cosine + spread * state, -1, 1)
        lengths = sizes * np.exp(norms * rng.normal(size=tasks))
        weights = weights * np.exp(0.003 * rng.normal(size=tasks))
        gram = np.diag(lengths**2)
        for (a, b), value in zip(pairs, cosines, strict=True):
            gram[a, b] = gram[b, a] = value * lengths[a] * lengths[b]
        descent = gram @ weights
        level = 0.05 + (np.exp(-4 * step / records) if learns else 1.0)
        yield {
            "step": step,
            "strategy_type": "UncertaintyWeightingStrategy",
            "unweighted_losses": dict(zip(names, level * np.exp(losses * rng.normal(size=tasks)), strict=True)),
            "task_weights": dict(zip(names, weights, strict=True)),
            "gradient_norm": dict(zip(names, lengths, strict=True)),
            "gradient_cosine_similarity": {
                f"{names[a]}_vs_{names[b]}": value for (a, b), value in zip(pairs, cosines, strict=True)
            },
            "descent": dict(zip(names, descent, strict=True)),
            "gradient_update_norm": float(np.sqrt(max(weights @ descent, 0.0))),
        }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def test_a_sound_run_has_no_findings(path):
    assert findings_of(path, run(lambda step: {})) == ()


def test_the_imbalance_ratio_is_the_geometric_mean_and_its_share_and_steps_are_exact(path):
    norms = {0: {"a": 1000.0, "b": 1.0}, 1: {"a": 1.0, "b": 1.0}}
    [found] = [
        f for f in findings_of(path, run(lambda s: {"gradient_norm": norms[s % 3 // 2]})) if f.kind == "imbalance"
    ]
    assert found.figures["share"] == pytest.approx(0.67)
    assert found.figures["ratio"] == pytest.approx(10 ** (3 * 0.67))
    assert (found.figures["largest"], found.figures["smallest"]) == ("a", "b")
    assert found.steps == (1, 100)
    assert found.threshold == {"imbalance_ratio": 10.0, "persistent_share": 0.5}


@pytest.mark.parametrize(
    ("norms", "largest", "smallest", "outliers"),
    [
        ({"a": 1.0, "b": 50.0}, "b", "a", ("b",)),
        ({"a": 1.0, "b": 50.0, "c": 60.0}, "c", "a", ("a",)),
        ({"a": 1.0, "b": 1.2, "c": 60.0}, "c", "a", ("c",)),
        ({"a": 50.0, "b": 60.0, "c": 1.0, "d": 1.2}, "b", "c", ("b", "a")),
    ],
)
def test_an_imbalance_names_the_outliers(path, norms, largest, smallest, outliers):
    [found] = [f for f in findings_of(path, run(lambda step: {"gradient_norm": norms})) if f.kind == "imbalance"]
    assert (found.figures["largest"], found.figures["smallest"], found.tasks) == (largest, smallest, outliers)
    assert f"the gradient of {largest} is" in found.title


def test_an_imbalance_of_some_steps_only_is_not_persistent(path):
    norms = {True: {"a": 1e6, "b": 1.0}, False: {"a": 1.0, "b": 1.0}}
    kinds = {f.kind for f in findings_of(path, run(lambda step: {"gradient_norm": norms[step % 3 == 0]}))}
    assert "imbalance" not in kinds


def averages(series, window):
    """Moving averages with the weights (1 - 1/window)^age, each over all values so far."""
    weights = (1.0 - 1.0 / window) ** np.arange(len(series))
    return np.array([np.average(series[: k + 1], weights=weights[: k + 1][::-1]) for k in range(len(series))])


@pytest.mark.parametrize(
    ("cosines", "severity", "level"),
    [
        ([-0.8] * 40 + [0.9] * 60, Severity.WARNING, "strong_conflict"),
        ([-0.8, -0.8, 0.9, 0.9], None, None),
        ([-0.4, -0.4, -0.1, -0.1], Severity.WARNING, "clear_conflict"),
        ([-0.25], Severity.NOTE, "any_conflict"),
        ([-0.4, -0.4, 0.1, 0.3], None, None),
        ([-0.15], None, None),
    ],
)
def test_conflict_by_level(path, cosines, severity, level):
    records = run(lambda step: {"gradient_cosine_similarity": {"a_vs_b": cosines[step % len(cosines)]}})
    found = findings_of(path, records)
    assert [f.severity for f in found] == ([severity] if severity else [])
    if severity:
        assert level in found[0].threshold
        for bound in (0, -0.3, -0.5):
            series = [cosines[step % len(cosines)] for step in range(1, 101)]
            share = np.mean(np.array(series) < bound)
            assert found[0].figures[f"share_below_{bound:g}"] == pytest.approx(share)
            share = np.mean(averages(series, 10) < bound)
            assert found[0].figures[f"smoothed_share_below_{bound:g}"] == pytest.approx(share)


def test_the_worst_pair_comes_first(path):
    cosines = {"a_vs_b": -0.6, "a_vs_c": -0.9, "b_vs_c": 0.5}
    found = findings_of(path, run(lambda step: {"gradient_cosine_similarity": cosines}))
    assert [f.tasks for f in found] == [("a", "c"), ("a", "b")]


def test_a_task_is_hurt_at_any_cosine_where_it_always_is(path):
    records = run(lambda step: {"descent": {"a": 1.0, "b": -1e-3}})
    [found] = findings_of(path, records)
    assert (found.kind, found.tasks) == ("hurt", ("b",))
    assert found.figures["share"] == 1.0
    assert findings_of(path, run(lambda step: {"descent": {"a": 1.0, "b": -1e-3 if step % 3 else 1e-3}})) == ()


def test_the_cosine_of_a_hurt_task_is_that_of_its_gradient_and_the_direction(path):
    norms = {"gradient_norm": {"a": 1.0, "b": 2.0}, "gradient_update_norm": 4.0}
    [found] = findings_of(path, run(lambda step: norms | {"descent": {"a": 1.0, "b": -4.0 if step % 4 else 4.0}}))
    assert found.figures["share"] == 0.75
    assert found.figures["cosine"] == pytest.approx(-0.25)


def test_rounding_hurts_no_task(path):
    """A guard that binds leaves <g, d> = 0, on either side of it by rounding."""
    assert findings_of(path, run(lambda step: {"descent": {"a": 1.0, "b": -1e-16}})) == ()


def test_a_compensating_weight_is_not_domination_but_a_dominated_direction_is(path):
    weights = {"task_weights": {"a": 100.0, "b": 1.0}}
    balanced = weights | {"gradient_norm": {"a": 0.01, "b": 1.0}}
    assert "domination" not in {f.kind for f in findings_of(path, run(lambda step: balanced))}
    [found] = findings_of(path, run(lambda step: weights))
    assert (found.kind, found.tasks, found.figures["of"]) == ("domination", ("a",), "direction")
    assert found.figures["mean"] == pytest.approx(100 / 101)
    [found] = findings_of(path, run(lambda step: weights | {"gradient_norm": {}}))
    assert (found.severity, found.figures["of"]) == (Severity.NOTE, "sum of the weights")


def test_skipped_steps_by_share(path):
    def few(step):
        return {"skipped": "non-finite loss of task 'b'"} if step == 50 else {}

    for count, severity in ((200, Severity.NOTE), (60, Severity.WARNING), (51, Severity.WARNING)):
        [found] = findings_of(path, run(few, count))
        assert (found.kind, found.severity) == ("skipped", severity)
        assert "non-finite loss of task 'b'" in found.title
    [found] = findings_of(path, run(lambda step: {"skipped": "overflow"} if step % 5 == 0 else {}))
    assert found.severity is Severity.ERROR
    assert found.figures["skipped"] == 20


def test_non_finite_figures_name_their_task(path):
    records = run(lambda step: {"unweighted_losses": {"a": step**-0.5, "b": None if step == 3 else step**-0.5}})
    [found] = findings_of(path, records)
    assert (found.kind, found.severity, found.tasks) == ("non_finite", Severity.WARNING, ("b",))
    [found] = findings_of(
        path, run(lambda step: {"unweighted_losses": {"a": step**-0.5, "b": None if step > 50 else step**-0.5}})
    )
    assert found.severity is Severity.ERROR


def test_a_task_that_is_now_and_then_absent_is_noted(path):
    records = run(lambda step: {"inactive_tasks": {"b": "absent"}} if step % 4 == 0 else {})
    [found] = findings_of(path, records)
    assert (found.kind, found.severity, found.tasks) == ("inactive", Severity.NOTE, ("b",))
    assert found.figures["share"] == 0.25


def test_a_task_without_gradient_is_dead_though_gradients_are_measured_rarely(path):
    unmeasured = {"gradient_norm": {}, "gradient_cosine_similarity": {}, "descent": {}}

    def change(step):
        return {"gradient_norm": {"a": 1.0}, "inactive_tasks": {"b": "zero gradient"}} if step % 50 == 0 else unmeasured

    assert [(f.kind, f.tasks) for f in findings_of(path, run(change, 200))] == [("dead", ("b",))]


def test_foreign_zero_norms_make_a_dead_task(path):
    [found] = findings_of(path, run(lambda step: {"gradient_norm": {"a": 1.0, "b": 0.0}}))
    assert (found.kind, found.tasks) == ("dead", ("b",))


@pytest.mark.parametrize(
    ("status", "every", "kind", "severity"),
    [
        ("fallback", 200, "solver", Severity.NOTE),
        ("fallback", 10, "solver", Severity.WARNING),
        ("inaccurate", 5, "solver", Severity.NOTE),
        ("inaccurate", 20, None, None),
        ("stationary", 1, "stationary", Severity.NOTE),
        ("stationary", 3, None, None),
    ],
)
def test_solves_by_their_outcome(path, status, every, kind, severity):
    def change(step):
        return {"solver": {"status": status if step % every == 0 else "solved", "reused": False}}

    found = findings_of(path, run(change, 200))
    assert [(f.kind, f.severity) for f in found] == ([(kind, severity)] if kind else [])
    if kind:
        assert found[0].figures["count"] == 200 // every


def test_few_records_are_not_judged(path):
    records = run(lambda step: {"gradient_norm": {"a": 1e6, "b": 1.0}, "descent": {"a": 1.0, "b": -1.0}}, 19)
    assert findings_of(path, records) == ()


def test_thresholds_can_be_overridden(path):
    write(path, run(lambda step: {"gradient_norm": {"a": 6.0, "b": 1.0}}))
    assert diagnose(path)[0].findings == ()
    [found] = diagnose(path, replace(DEFAULT, imbalance_ratio=5.0))[0].findings
    assert (found.kind, found.threshold["imbalance_ratio"]) == ("imbalance", 5.0)


@pytest.mark.parametrize(("usual", "found"), [(0.05, True), (0.4, False)])
def test_a_cos_theta_that_is_low_in_most_solves_is_noted(path, usual, found):
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        cosines = np.clip(usual + 0.1 * rng.normal(size=60), 0.0, 1.0).tolist()
        records = run(
            lambda step, cosines=cosines: {"imgrad_cos_theta": cosines[step - 1], "solver": {"reused": step > 50}}, 60
        )
        findings = findings_of(path, records)
        assert [f.kind for f in findings] == (["cos_theta"] if found else []), seed
        if found:
            assert findings[0].figures["mean"] == pytest.approx(np.mean(cosines[:50]))
            assert findings[0].figures["share"] == pytest.approx(np.mean(np.array(cosines[:50]) < 0.2))


def test_findings_come_heaviest_first(path):
    def change(step):
        return {
            "strategy_type": "NashMTL",
            "unweighted_losses": {"a": step**-0.5, "b": 1.0},
            "gradient_norm": {"a": 1.0, "b": 1e3},
            "gradient_update_norm_clipped": 0.5,
            "inactive_tasks": {"c": "absent"} if step % 10 == 0 else {},
            "descent": {"a": -1.0, "b": 1.0},
        }

    found = findings_of(path, run(change))
    assert [f.kind for f in found] == ["frozen", "flat", "hurt", "imbalance", "domination", "clipped", "inactive"]
    assert {f.kind for f in found} <= set(KINDS)
    severities = [f.severity for f in found]
    assert severities == sorted(severities, reverse=True)


@pytest.mark.parametrize(
    ("fields", "kind", "order"),
    [
        (lambda s: {"descent": {"a": -1.0, "b": -1.0 if s > 2 else 1.0, "c": -1.0}}, "hurt", ["a", "c", "b"]),
        (lambda s: {"inactive_tasks": {"a": "absent"} if s % 9 else {"b": "absent", "a": "absent"}}, "inactive", "b"),
        (lambda s: {"unweighted_losses": {"a": None if s > 99 else 1 / s, "b": None if s > 97 else 1 / s}}, None, "ba"),
        (lambda s: {"unweighted_losses": {t: abs(s - 50.5) ** k for t, k in (("a", 2), ("b", 3))}}, "divergence", "ba"),
    ],
)
def test_findings_of_one_kind_come_by_weight(path, fields, kind, order):
    found = [f for f in findings_of(path, run(fields)) if f.kind == (kind or "non_finite")]
    assert [f.tasks[0] for f in found] == list(order)


def test_findings_say_the_steps_that_they_cover(path):
    def change(step):
        return {
            "strategy_type": "NashMTL",
            "skipped": "overflow" if step in (7, 12) else None,
            "unweighted_losses": {"a": None if step in (7, 9) else step**-0.5, "b": step**-0.5},
            "task_weights": {"a": 1.0 + step / 1e4, "b": 1.0 - step / 1e4},
            "inactive_tasks": {"c": "absent"} if 20 <= step < 30 else {},
            "solver": {"status": "fallback" if step in (41, 43) else "solved", "reused": False},
            "gradient_cosine_similarity": {"a_vs_b": -0.9 if step > 60 else 0.2},
            "descent": {"a": 1.0, "b": 1.0 if step <= 8 else -1.0},
        }

    assert {f.kind: f.steps for f in findings_of(path, run(change))} == {
        "non_finite": (7, 9),
        "skipped": (7, 12),
        "solver": (41, 43),
        "hurt": (9, 100),
        "conflict": (61, 100),
        "inactive": (20, 29),
    }
