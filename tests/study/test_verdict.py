"""Verdicts in words, on comparisons whose truth is known."""

import numpy as np
import pytest

from coral_mtl.study.statistics import Difference, Panel
from coral_mtl.study.verdict import Field, against_baseline, judge, told

NOISE = np.array([[0.01, -0.02, 0.0, 0.02, -0.01], [0.0, 0.01, -0.01, 0.02, -0.02], [-0.02, 0.01, 0.02, 0.0, -0.01]])


def field(*means, diverged=(0, 0, 0), sign=1.0, seeds=5):
    return Field(["A", "B", "C"], Panel(np.array(means)[:, None] + NOISE[:, :seeds]), diverged, sign)


def test_a_clear_winner_is_named_with_the_next():
    verdict = judge(field(0.9, 0.5, 0.7))
    assert (verdict.kind, verdict.leader) == ("clear winner", "A")
    assert verdict.text.startswith("Clear winner: A, over 5 seeds; the next is C: +0.2 [0.")


def test_smaller_can_be_better():
    verdict = judge(field(0.9, 0.5, 0.7, sign=-1.0))
    assert (verdict.kind, verdict.leader) == ("clear winner", "B")
    assert "the next is C: -0.2" in verdict.text


def test_no_clear_winner_names_whom_the_leader_could_not_beat():
    verdict = judge(field(0.9, 0.9, 0.1))
    assert verdict.kind == "no clear winner"
    assert "chance alone could put it ahead of B (" in verdict.text
    assert "would have shown with a probability of 0.8" in verdict.text


def test_whoever_diverged_wins_nothing():
    verdict = judge(field(0.9, 0.5, 0.7, diverged=(1, 0, 0)))
    assert verdict.kind == "no clear winner"
    assert "1 of its 5 runs diverged" in verdict.text
    assert judge(field(0.9, 0.5, 0.7, diverged=(0, 5, 0))).kind == "clear winner"


def test_two_seeds_tell_nothing():
    assert judge(field(0.9, 0.5, 0.7, seeds=2)).kind == "too few seeds"


def test_runs_that_differ_otherwise_have_no_winner():
    verdict = judge(field(0.9, 0.5, 0.7), ["optimiser steps: 940 (A); 7520 (B)"])
    assert verdict.kind == "not comparable"
    assert "no strategy can be called better" in verdict.text


@pytest.mark.parametrize(
    ("sign", "expected"), [(1.0, "Better than B: A; worse than B: C."), (-1.0, "Better than B: C; worse than B: A.")]
)
def test_the_baseline_is_beaten_or_not(sign, expected):
    differences = {"A": Difference(5, 0.2), "C": Difference(5, -0.1), "D": Difference(5, 0.5)}
    adjusted = {"A": 0.01, "C": 0.04, "D": 0.06}
    assert against_baseline(differences, adjusted, "B", sign) == expected
    assert against_baseline(differences, dict.fromkeys("ACD", 0.5), "B") == "None can be told from B."


def test_a_difference_is_told_with_what_is_known():
    assert told(Difference(5, 0.0123456, interval=(0.004, 0.0203), p=0.0112)) == "+0.0123 [0.004, 0.0203], p = 0.011"
    assert told(Difference(2, -0.5)) == "-0.5"
