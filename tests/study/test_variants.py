"""Comparisons of the variants of a configuration, with real runs made in this process."""

import json

import pytest
from small_studies import YAML, Compared, written

from coral_mtl.config import load_config
from coral_mtl.config.loading import ConfigErrors
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.study.compare import Comparison
from coral_mtl.study.contenders import variant
from coral_mtl.study.definition import define
from coral_mtl.study.folder import check_variants
from coral_mtl.study.measured import read_run
from coral_mtl.study.request import Request

VARIANTS = """
compare:
  baseline: plain
  variants:
    falling: {optimizer.type: AdamW, optimizer.schedule: {cosine: {start: 1.0, end: 0.1}}}
    plain: {}
    random: {loss.weighting_strategy: {type: Random}}
"""


def begun(tmp_path, variants=VARIANTS, **options):
    return Request(seeds=options.pop("seeds", 3), output=tmp_path / "c", **options).begin(
        [str(written(tmp_path, YAML + variants))]
    )


def run(comparison, monkeypatch):
    compared = Compared(monkeypatch)
    monkeypatch.setattr("coral_mtl.study.compare.run_jobs", compared._run)
    return comparison.run(1, tell=compared.lines.append, stop=lambda: False)


def test_variants_are_the_rows_and_say_what_they_changed(tmp_path, monkeypatch):
    result = run(begun(tmp_path), monkeypatch)
    assert {row.strategy for row in result.rows} == {"falling", "plain", "random"}
    assert result.baseline == "plain"
    assert "plain: as it is" in result.notes
    assert any(note.startswith("falling: optimizer.type=") and "cosine" in note for note in result.notes)
    runs = {path.name: read_run(path) for path in (tmp_path / "c/runs").iterdir()}
    assert len(runs) == 9
    for seed in range(3):
        assert len({each.fingerprints["weights"] for each in runs.values() if each.seed == seed}) == 1
    assert "compare" not in (tmp_path / "c/config.yaml").read_text()


def test_a_comparison_is_taken_up_from_its_folder(tmp_path, monkeypatch):
    first = run(begun(tmp_path), monkeypatch)
    again = Comparison.reopen(tmp_path / "c")
    assert run(again, monkeypatch) == first
    definition = json.loads((tmp_path / "c/comparison.json").read_text())["definition"]
    assert definition["baseline"] == "plain"
    assert definition["variants"]["plain"] == []
    other = load_config(written(tmp_path, YAML + VARIANTS.replace("0.1}", "0.2}")), compare=True)
    with pytest.raises(ConfigError, match="holds another comparison"):
        Comparison.create(tmp_path / "c", define(other, (), 3), other)


def test_each_variant_is_tuned(tmp_path, monkeypatch):
    result = run(begun(tmp_path, seeds=1, tune=("trainer.max_grad_norm=0.1,1.0",)), monkeypatch)
    assert sum("was tuned" in note for note in result.notes) == 3


def test_another_start_is_fair_only_where_the_variant_says_so(tmp_path, monkeypatch):
    wider = "compare: {variants: {plain: {}, wider: {model.params.features: 9}}}\n"
    result = run(begun(tmp_path, wider, seeds=1), monkeypatch)
    assert {row.strategy for row in result.rows} == {"plain", "wider"}


def test_another_length_is_never_fair(tmp_path, monkeypatch):
    longer = "compare: {variants: {plain: {}, longer: {trainer.epochs: 2}}}\n"
    with pytest.raises(TrainingError, match=r"same number of optimiser steps: \[2, 4\]"):
        run(begun(tmp_path, longer, seeds=1), monkeypatch)


def test_an_illegal_variant_is_told_before_anything_is_made(tmp_path):
    wrong = "compare: {variants: {plain: {}, wrong: {model.params.featurs: 9}}}\n"
    with pytest.raises(ConfigErrors, match=r"override model.params.featurs=9.*\n.*did you mean"):
        begun(tmp_path, wrong)
    assert not (tmp_path / "c").exists()
    config = load_config(written(tmp_path, YAML + wrong), compare=True)
    with pytest.raises(ConfigErrors, match=r"model\.params\.featurs"):
        check_variants(config)


def test_what_variants_leave_without_an_effect(tmp_path):
    with pytest.raises(ConfigError, match="--strategies has no effect: the section compare of"):
        begun(tmp_path, strategies=("MGDA",))
    with pytest.raises(ConfigError, match="--static-grid has no effect"):
        begun(tmp_path, static_grid=True)


def test_what_a_variant_may_start_from_alone():
    assert variant("a", ("data.params.seed=1",)).unlike == {"weights", "data"}
    assert variant("b", ("parameters=[]",)).unlike == {"weights"}
    assert variant("c", ("optimizer.params.lr=1",)).unlike == set()
