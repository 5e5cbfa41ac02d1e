"""Measured figures of strategies as Markdown: what is told, and what is not there yet."""

import json

import pytest

from coral_mtl.strategy_figures import FIGURES, figures_row, figures_table

MEASURED = {
    "date": "2026-01-02",
    "environment": {"coral-mtl": "1.2.3", "torch": "9.9", "processor": "an abacus"},
    "settings": {"seeds": [0, 1], "epochs": 4},
    "strategies": {
        "Equal": {"scores": {"0": 0.5, "1": 0.7}, "matrices": None},
        "MGDA": {
            "scores": {"0": 0.8, "1": 0.9},
            "steps": {"plain": 2.0, "refresh": 5.0, "reuse": 2.1},
            "matrices": {"ends": {"stationary": 3, "solved": 20}, "worst_cosine": -1e-13, "hurt": 0.125},
        },
        "MoCo": {"steps": {"plain": 2.0, "refresh": 6.0}},
    },
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / FIGURES).parent.mkdir(parents=True)
    (tmp_path / FIGURES).write_text(json.dumps(MEASURED))
    return tmp_path


def test_the_row_of_a_strategy(root):
    header, _, row = figures_row(root, "MGDA").splitlines()
    assert header == "| score | step | reuse step | hurts a task | worst cosine | solver |"
    assert row == "| 0.850 ± 0.071 | 2.5 | 1.1 | 12% | 0.00 | 20 solved, 3 stationary |"
    assert figures_row(root, "Equal").endswith("| 0.600 ± 0.141 |  |  | - | - | - |")
    assert figures_row(root, "MoCo").endswith("|  | 3.0 | - |  |  |  |")


def test_the_table_has_the_best_score_first_and_says_where_it_is_from(root):
    lines = figures_table(root).splitlines()
    assert [line.split("]")[0] for line in lines[2:5]] == ["| [MGDA", "| [Equal", "| [MoCo"]
    assert "2026-01-02" in lines[-1]
    assert "an abacus" in lines[-1]


def test_without_figures_it_says_how_to_get_them(tmp_path, root):
    assert "benchmarks/strategies.py" in figures_row(root, "NashMTL")
    assert "benchmarks/strategies.py" in figures_table(tmp_path / "elsewhere")
