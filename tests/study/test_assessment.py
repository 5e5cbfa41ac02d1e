"""The table of a comparison, on runs with chosen figures."""

import math

import pytest
from made_up_runs import measured, scores
from rich.console import Console

from coral_mtl.errors import DataError
from coral_mtl.study.assessment import assess
from coral_mtl.study.table import comparison_table
from coral_mtl.study.target import Target

SCORE = Target("global.score", True)


def rows_of(result):
    return {row.strategy: row for row in result.rows}


def shown(result):
    console = Console(width=200, record=True)
    with console.capture() as captured:
        console.print(comparison_table(result))
    return captured.get()


def test_rows_come_best_first_with_paired_differences():
    runs = {"Equal": scores(0.5, 0.7, 0.6), "A": scores(0.61, 0.79, 0.70), "B": scores(0.4, 0.6, 0.5)}
    result = assess(runs, SCORE, "Equal")
    assert [row.strategy for row in result.rows] == ["A", "Equal", "B"]
    rows = rows_of(result)
    assert rows["A"].mean == pytest.approx(0.7)
    assert rows["A"].difference.mean == pytest.approx(0.1)
    assert rows["B"].difference.mean == pytest.approx(-0.1)
    assert rows["Equal"].difference is None
    assert rows["A"].figures == {0: 0.61, 1: 0.79, 2: 0.70}
    assert result.verdict.kind == "clear winner"
    assert result.against_baseline == "Better than Equal: A; worse than Equal: B."


def test_p_values_are_corrected_for_their_number():
    runs = {"Equal": scores(0.5, 0.7, 0.6), "A": scores(0.52, 0.75, 0.66), "B": scores(0.49, 0.7, 0.55)}
    result = assess(runs, SCORE, "Equal")
    rows = rows_of(result)
    smaller, larger = sorted((rows["A"], rows["B"]), key=lambda row: row.difference.p)
    assert smaller.p == pytest.approx(2 * smaller.difference.p)
    assert larger.p == pytest.approx(max(larger.difference.p, smaller.p))


def test_a_diverged_run_counts_as_the_worst_and_never_wins():
    runs = {"Equal": scores(0.5, 0.51, 0.5), "A": scores(0.9, 0.9, math.nan), "B": scores(0.1, 0.2, 0.15)}
    result = assess(runs, SCORE, "Equal")
    rows = rows_of(result)
    assert rows["A"].diverged == 1
    assert rows["A"].figures[2] is None
    assert rows["A"].mean == pytest.approx((0.9 + 0.9 + 0.1) / 3)
    assert result.rows[0].strategy == "A"
    assert result.verdict.kind == "no clear winner"
    assert "1 of 3" in shown(result)


def test_a_diverged_run_does_not_hide_what_the_others_show():
    runs = {"Equal": scores(0.50, 0.51, 0.49), "A": scores(0.60, 0.62, 0.59)}
    alone = rows_of(assess(runs, SCORE, "Equal"))["A"].difference
    beside = rows_of(assess(runs | {"B": scores(0.1, math.nan, 0.9)}, SCORE, "Equal"))["A"].difference
    assert beside == alone


def test_a_figure_that_is_not_finite_is_a_diverged_run():
    runs = {"Equal": scores(0.5, 0.5, 0.4), "A": {seed: measured(seed, score=math.nan) for seed in range(3)}}
    result = assess(runs, SCORE, "Equal")
    assert rows_of(result)["A"].diverged == 3
    assert rows_of(result)["A"].mean == pytest.approx(0.4)
    with pytest.raises(DataError, match="every run diverged"):
        assess({"A": runs["A"], "Equal": runs["A"]}, SCORE, "Equal")


def test_the_worst_of_a_loss_is_the_largest():
    def losses(*values):
        return {seed: measured(seed, left_loss=value) for seed, value in enumerate(values)}

    runs = {"Equal": losses(1.0, 2.0, 3.0), "A": losses(0.1, 0.2, math.nan)}
    result = assess(runs, Target("tasks.left.loss", False), "Equal")
    assert rows_of(result)["A"].mean == pytest.approx((0.1 + 0.2 + 3.0) / 3)
    assert result.rows[0].strategy == "A"


def two_tasks(seed, accuracy, rmse, **more):
    return measured(seed, score=accuracy, left_accuracy=accuracy, left_loss=1.0, ink_rmse=rmse, ink_r2=0.9, **more)


def test_delta_m_and_ranks_go_over_all_tasks():
    runs = {
        "Equal": {s: two_tasks(s, 0.5, 2.0) for s in range(3)},
        "A": {s: two_tasks(s, 0.55, 1.8) for s in range(3)},
        "B": {s: two_tasks(s, 0.6, 3.0) for s in range(3)},
    }
    rows = rows_of(assess(runs, SCORE, "Equal"))
    assert rows["A"].delta_m == pytest.approx(10.0)
    assert rows["B"].delta_m == pytest.approx((20.0 - 50.0) / 2)
    assert rows["Equal"].delta_m == 0.0
    assert [rows[label].mean_rank for label in ("A", "B", "Equal")] == [1.5, 2.0, 2.5]


def test_delta_m_is_against_single_task_runs_where_there_are_any():
    runs = {label: {s: two_tasks(s, 0.5, 2.0) for s in range(3)} for label in ("Equal", "A")}
    single = {
        "left": {s: two_tasks(s, 0.4, 99.0) for s in range(3)},
        "ink": {s: two_tasks(s, 0.0, 1.0) for s in range(3)},
    }
    result = assess(runs, SCORE, "Equal", single_task=single)
    assert rows_of(result)["Equal"].delta_m == pytest.approx((25.0 - 100.0) / 2)
    assert result.delta_m_baseline == "single-task runs"
    assert result.single_task["ink"] == {"metric": "tasks.ink.rmse", "mean": 1.0, "spread": 0.0}
    assert "ink alone: tasks.ink.rmse 1" in shown(result)


def test_a_diverged_run_has_no_delta_m_and_the_last_rank():
    runs = {
        "Equal": {s: two_tasks(s, 0.5, 2.0) for s in range(3)},
        "A": {s: two_tasks(s, 0.9, 1.0, diverged="why" if s == 1 else None) for s in range(3)},
    }
    row = rows_of(assess(runs, SCORE, "Equal"))["A"]
    assert row.delta_m is None
    assert row.mean_rank == pytest.approx((1 + 2 + 1) / 3)


def test_costs_are_ratios_to_the_baseline():
    runs = {"Equal": scores(0.5, 0.6, 0.7), "A": scores(0.5, 0.6, 0.7)}
    row = rows_of(assess(runs, SCORE, "Equal"))["A"]
    assert (row.time_ratio, row.memory_ratio) == (1.0, 1.0)
    assert (row.solves, row.failed_solves, row.skipped_steps) == (150, 6, 3)


def test_only_common_seeds_are_paired():
    runs = {
        "Equal": scores(0.5, 0.6, 0.7),
        "A": {1: measured(1, score=0.65), 2: measured(2, score=0.7), 9: measured(9, score=0.1)},
    }
    result = assess(runs, SCORE, "Equal")
    assert result.seeds == (1, 2)
    assert result.verdict.kind == "too few seeds"
    assert result.against_baseline == ""
    with pytest.raises(DataError, match="no seed in common"):
        assess({"Equal": scores(0.5), "A": {9: measured(9, score=0.1)}}, SCORE, "Equal")


def test_names_cannot_act_on_the_terminal():
    name = "A\x1b[31m[bold]x"
    text = shown(assess({"Equal": scores(0.5, 0.6, 0.7), name: scores(0.5, 0.61, 0.7)}, SCORE, "Equal"))
    assert "\x1b[31m" not in text
    assert "[bold]x" in text


def test_what_the_runs_differ_in_comes_first():
    result = assess({"Equal": scores(0.5, 0.6, 0.7), "A": scores(0.9, 0.9, 0.9)}, SCORE, "Equal", differences=["steps"])
    assert shown(result).startswith("differs: steps")
    assert result.verdict.kind == "not comparable"
