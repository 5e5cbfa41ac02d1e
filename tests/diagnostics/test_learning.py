"""What is found in the course of the losses: planted ailments by name, and nothing in runs that learn as they should.

Planted and sound runs are tried on 50 seeds each.
"""

import numpy as np
import pytest
from simulated_learning import (
    SCHEDULES,
    TASKS,
    clipping,
    ending_early,
    learning,
    overfitting,
    spiking,
    steep,
    stuck,
    write_run,
)
from simulated_runs import run, write

from coral_mtl.diagnostics.diagnosis import diagnose
from coral_mtl.diagnostics.finding import Severity

SEEDS = 50
CASES = {
    "spikes": ({"ailment": spiking(1), "noise": 0.2}, {"divergence", "unfinished"}),
    "clipped": ({"ailment": clipping(0.05)}, set()),
    "unfinished": ({"ailment": steep(1), "noise": 0.05}, set()),
    "flat": ({"ailment": stuck(1), "noise": 0.03}, set()),
    "plateau": ({"ailment": ending_early(1)}, set()),
    "overfitting": ({"ailment": overfitting(1)}, set()),
}


def findings_of(path, records):
    [diagnosis] = diagnose(write(path, records))
    return diagnosis.findings


def found_in(folder, records, validations=()):
    [diagnosis] = diagnose(write_run(folder, records, validations))
    return diagnosis.findings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_what_is_planted_is_found_and_nothing_else(tmp_path, kind):
    options, companions = CASES[kind]
    tasks = () if kind == "clipped" else ("health",)
    for seed in range(SEEDS):
        findings = found_in(tmp_path, *learning(seed, **options))
        assert [f.tasks for f in findings if f.kind == kind] == [tasks], seed
        assert {f.kind for f in findings} - {kind} <= companions, seed
        assert all(f.tasks == tasks for f in findings), seed


@pytest.mark.slow
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nothing_is_found_where_losses_fall_as_the_rate_allows(tmp_path, schedule, validated):
    for seed in range(SEEDS):
        records, validations = learning(seed, schedule)
        assert found_in(tmp_path, records, validations if validated else ()) == (), seed


@pytest.mark.slow
def test_a_plateau_is_found_without_validations_too(tmp_path):
    for seed in range(SEEDS):
        [found] = found_in(tmp_path, learning(seed, ailment=ending_early(1), noise=0.015)[0])
        assert (found.kind, found.tasks, found.severity) == ("plateau", ("health",), Severity.NOTE)
        assert found.figures["by"] == {"health": "training"}


def test_tasks_on_a_plateau_are_named_in_one_finding_that_looks_at_the_rate(tmp_path):
    def both(curves, rng):
        return ending_early(2)(ending_early(0)(curves, rng), rng)

    for schedule, advice in (("constant", "let the learning rate decay"), ("cosine", "train shorter, restart")):
        [found] = found_in(tmp_path, *learning(0, schedule, both, records=200))
        assert (found.tasks, found.steps) == (("genus", "cover"), (100, 200))
        assert found.figures["changed_at_most"].keys() == {"genus", "cover"}
        assert found.advice.startswith(advice)


def test_a_training_loss_that_falls_beside_a_validation_plateau_is_learned_by_heart(tmp_path):
    def by_heart(curves, rng):
        return curves | {"validation": ending_early(1)(curves, rng)["validation"]}

    for ailment, advice in ((by_heart, "regularise"), (ending_early(1), "train shorter")):
        [found] = found_in(tmp_path, *learning(0, ailment=ailment))
        assert found.kind == "plateau"
        assert found.advice.startswith(advice)


def test_a_run_in_which_no_loss_falls_is_mended_first(tmp_path):
    def all_stuck(curves, rng):
        return curves | {"training": np.full_like(curves["training"], 0.7)}

    records = learning(0, ailment=all_stuck, noise=0.02)[0]
    [diagnosis] = diagnose(write_run(tmp_path, records))
    assert [(f.kind, f.severity) for f in diagnosis.findings] == [("flat", Severity.ERROR)] * 3
    assert {f.tasks for f in diagnosis.findings} == {(task,) for task in TASKS}
    assert diagnosis.advice.sentence.startswith("Mend this before")


def test_while_the_rate_warms_up_no_loss_is_called_flat(path):
    def change(step, rate):
        return {"unweighted_losses": {"a": 1.0, "b": 2.0}, "lr": rate}

    assert findings_of(path, run(lambda step: change(step, step / 100))) == ()
    assert len(findings_of(path, run(lambda step: change(step, 1.0)))) == 2


def test_a_loss_that_falls_in_the_first_steps_alone_is_not_flat(path):
    losses = {"a": lambda step: max(3.0 * 0.8**step, 0.5), "b": lambda step: 3.0 if step < 4 else 1.0}
    for length in (100, 3000):
        records = run(lambda step: {"unweighted_losses": {task: loss(step) for task, loss in losses.items()}}, length)
        assert "flat" not in {finding.kind for finding in findings_of(path, records)}


@pytest.mark.parametrize(("factor", "severity"), [(0.5, Severity.NOTE), (0.02, Severity.WARNING)])
def test_clipping_is_graver_the_less_it_leaves(path, factor, severity):
    def change(step):
        return {"gradient_update_norm": 4.0, "gradient_update_norm_clipped": 4.0 * (factor if step > 30 else 1.0)}

    [found] = findings_of(path, run(change))
    assert (found.kind, found.severity, found.steps) == ("clipped", severity, (31, 100))
    assert found.figures["share"] == 0.7
    assert found.figures["factor"] == pytest.approx(factor**0.7)
    assert findings_of(path, run(lambda step: change(step + 30 if step > 60 else 1))) == ()


def test_the_rise_of_a_validation_loss_is_told_from_its_best(tmp_path):
    smooth = 0.5 + 0.01 * (np.arange(20) - 8.0) ** 2
    records = run(lambda step: {"unweighted_losses": {"a": 0.99**step, "b": 0.99**step}, "lr": 1.0}, 200)
    validations = [
        {"run": "r", "step": 10 * (k + 1), "metrics": {"tasks.a.loss": loss, "tasks.b.loss": 0.5, "tasks.a.mae": 1.0}}
        for k, loss in enumerate(smooth.tolist())
    ]
    [found] = [f for f in found_in(tmp_path, records, validations) if f.kind == "overfitting"]
    assert (found.tasks, found.severity, found.steps) == (("a",), Severity.WARNING, (90, 200))
    log = np.log(smooth)
    assert found.figures["rise"] == pytest.approx(np.exp(log[-3:].mean() - log[7:10].mean()))
    assert found.figures["training_fell"] == pytest.approx(1 - 0.99**100, rel=1e-3)
    constant = [record | {"unweighted_losses": {"a": 1.0 if record["step"] > 50 else 2.0}} for record in records]
    assert "overfitting" not in {f.kind for f in found_in(tmp_path, constant, validations)}


def test_validations_of_another_run_and_odd_lines_are_left_out(tmp_path):
    records, validations = learning(0, ailment=overfitting(1))
    others = [line | {"run": "another"} for line in validations]
    assert found_in(tmp_path, records, others) == ()
    odd = ["poem", {"run": "simulated"}, {"run": "simulated", "step": 3, "metrics": {"tasks.health.loss": None}}]
    write_run(tmp_path, records, [*odd, *validations])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"run": "simul')
    [diagnosis] = diagnose(tmp_path)
    assert [f.kind for f in diagnosis.findings] == ["overfitting"]
    assert [remark.partition("metrics.jsonl")[2] for remark in diagnosis.remarks] == [
        ":1: JSON, but not an object: skipped",
        ":2: no validation of a run: skipped",
        f":{len(odd) + len(validations) + 1}: a torn last line: skipped",
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\0\0")
    [diagnosis] = diagnose(tmp_path)
    assert len(diagnosis.remarks) == 1
    assert "binary" in diagnosis.remarks[0]


def test_a_loss_that_falls_and_rises_again_diverges_and_noise_at_the_floor_does_not(path):
    def rise(step):
        return {"unweighted_losses": {"a": step**-0.5, "b": 2.0 * 0.9 ** min(step, 120 - step)}}

    [found] = findings_of(path, run(rise))
    assert (found.kind, found.severity, found.tasks) == ("divergence", Severity.ERROR, ("b",))
    assert found.figures["best"] < found.figures["end"] < found.figures["start"]
    floor = run(lambda step: {"unweighted_losses": {"a": step**-0.5, "b": max(0.8**step, 1e-4 if step > 70 else 1e-6)}})
    assert findings_of(path, floor) == ()


def test_a_loss_that_is_mostly_noise_does_not_diverge(path):
    for seed in range(20):
        noise = iter(np.exp(1.5 * np.random.default_rng(seed).normal(size=40)))
        records = run(lambda step, noise=noise: {"unweighted_losses": {"a": step**-0.5, "b": next(noise)}}, 40)
        assert findings_of(path, records) == (), seed
