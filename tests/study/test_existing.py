"""Runs that were made before: what they differ in beside their strategies is named, and then nobody wins."""

import json

import pytest
from small_studies import YAML, train, written

from coral_mtl.errors import ConfigError
from coral_mtl.study.existing import compare_runs
from coral_mtl.study.measured import read_run

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train runs once for all tests: `runs(strategy, seed, *overrides)` is the folder."""
    root = tmp_path_factory.mktemp("runs")
    config = written(root)
    made = {}

    def get(strategy, seed, *overrides):
        key = (strategy, seed, *overrides)
        if key not in made:
            choice = f"loss.weighting_strategy.type={strategy}"
            made[key] = train(config, root / str(len(made)), choice, f"seed={seed}", *overrides)
        return made[key]

    return get


def test_fair_runs_are_compared_without_a_word(runs):
    result = compare_runs([runs(strategy, seed) for strategy in ("MGDA", "Equal") for seed in SEEDS])
    assert result.differences == ()
    assert result.baseline == "Equal"
    assert result.seeds == SEEDS
    assert {row.strategy for row in result.rows} == {"MGDA", "Equal"}
    assert result.verdict.kind in ("clear winner", "no clear winner")


def test_comparisons_and_studies_beside_the_runs_are_left_out_and_told(runs, tmp_path):
    fair = [runs(strategy, seed) for strategy in ("MGDA", "Equal") for seed in SEEDS]
    for name in ("comparison.json", "study.sqlite"):
        (tmp_path / name.partition(".")[0]).mkdir()
        (tmp_path / name.partition(".")[0] / name).touch()
    others = [tmp_path / "comparison", tmp_path / "study"]
    result = compare_runs([others[0], *fair, others[1]])
    assert len(result.rows) == 2
    assert [note.rpartition(": ")[2] for note in result.notes] == [str(other) for other in others]
    with pytest.raises(ConfigError, match=r"no run is named.*\n.*left out.*comparison\n.*left out.*study"):
        compare_runs(others)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("trainer.epochs=8",), ["trainer.epochs: 1 (Equal); 8 (MGDA)", "optimiser steps: 2 (Equal); 16 (MGDA)"]),
        (("optimizer.params.lr=0.01",), ["optimizer.params.lr: 0.001 (Equal); 0.01 (MGDA)"]),
        (("data.params.seed=5",), ["data.params.seed: 0 (Equal); 5 (MGDA)"]),
        (("model.params.features=4",), ["model.params.features: 8 (Equal); 4 (MGDA)"]),
        (
            ("trainer.use_mixed_precision=true",),
            [
                "trainer.use_mixed_precision: false (Equal); true (MGDA)",
                "trainer.mixed_precision_dtype: none (Equal); bfloat16 (MGDA)",
            ],
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_every_other_difference_is_named_and_there_is_no_winner(runs, overrides, named):
    result = compare_runs([runs("Equal", 0), runs("MGDA", 0, *overrides)])
    assert sorted(result.differences) == sorted(named)
    assert result.verdict.kind == "not comparable"


def test_other_seeds_are_named(runs):
    result = compare_runs([runs("Equal", 0), runs("Equal", 1), runs("MGDA", 0)])
    assert result.differences == ("seeds: 0, 1 (Equal); 0 (MGDA)",)
    assert result.seeds == (0,)


def test_settings_that_leave_the_figures_alone_are_not_named(runs):
    quiet = ("trainer.checkpoint_every=1", "diagnostics.record_every=2", "name=other")
    assert compare_runs([runs("Equal", 0), runs("MGDA", 0, *quiet)]).differences == ()


def test_options_of_one_strategy_make_rows_of_their_own(runs):
    often = "loss.weighting_strategy.params.update_frequency=2"
    result = compare_runs([runs("MGDA", 0), runs("MGDA", 0, often), runs("Equal", 0)])
    assert {row.strategy for row in result.rows} == {"MGDA(update_frequency=1)", "MGDA(update_frequency=2)", "Equal"}
    assert result.differences == ()


def test_a_strategy_that_was_never_used_is_told(runs, tmp_path):
    equal = runs("Equal", 0)
    fake = train(written(tmp_path), tmp_path / "fake", "loss.weighting_strategy.type=NashMTL", "trainer.epochs=30")
    plain = [json.loads(line) for line in (fake / "loss_diagnostics.jsonl").read_text().splitlines()]
    for record in plain:
        record["task_weights"] = dict.fromkeys(record["task_weights"], 1.0)
    (fake / "loss_diagnostics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in plain))
    result = compare_runs([equal, fake])
    assert any("never moved" in text and text.startswith("NashMTL") for text in result.differences)
    assert result.verdict.kind == "not comparable"


def test_other_first_weights_are_named(runs, tmp_path):
    shifted = train(written(tmp_path), tmp_path / "run", "loss.weighting_strategy.type=MGDA")
    about = json.loads((shifted / "run.json").read_text())
    about["fingerprints"]["weights"] = "others"
    (shifted / "run.json").write_text(json.dumps(about))
    assert compare_runs([runs("Equal", 0), shifted]).differences == ("first weights of seed 0: not the same",)


def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="all of one strategy"):
        compare_runs([runs("Equal", 0), runs("Equal", 1)])
    with pytest.raises(ConfigError, match="with the same seed, 0"):
        compare_runs([runs("Equal", 0), runs("Equal", 0), runs("MGDA", 0)])
    with pytest.raises(ConfigError, match="not the folder of a run"):
        compare_runs([tmp_path, runs("MGDA", 0)])
    with pytest.raises(ConfigError, match=r"no metric called tasks\.sea\.rmse"):
        compare_runs([runs("Equal", 0), runs("MGDA", 0)], "tasks.sea.rmse")
    halted = train(written(tmp_path), tmp_path / "halted", stop=lambda: True)
    with pytest.raises(ConfigError, match="coral-mtl resume"):
        compare_runs([runs("Equal", 0), halted])


def test_runs_selected_by_different_metrics_need_one_to_be_named(runs):
    other = runs("MGDA", 0, "trainer.model_selection_metric=tasks.left.accuracy")
    with pytest.raises(ConfigError, match="--metric"):
        compare_runs([runs("Equal", 0), other])
    result = compare_runs([runs("Equal", 0), other], "tasks.ink.rmse")
    assert (result.metric, result.larger_is_better) == ("tasks.ink.rmse", False)


def test_a_diverged_run_is_read_with_its_reason(tmp_path):
    text = YAML.replace("epochs: 1", "epochs: 2, max_nonfinite_steps: 1")
    run = read_run(train(written(tmp_path, text), tmp_path / "run", "data.params.ink_scale=1e30"))
    assert "in a row were skipped" in run.diverged
    assert run.health.skipped_steps == 1


def test_the_costs_of_a_run_are_read(runs):
    run = read_run(runs("MGDA", 0))
    assert 0 < run.seconds_per_step < 60
    assert run.memory > 10**7
    assert (run.health.solves, run.health.failed_solves, run.steps) == (2, 0, 2)
