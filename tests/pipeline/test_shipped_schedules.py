"""The shipped configurations of configs/schedules/ train, and what they are about happens."""

import json
from pathlib import Path

import pytest

from coral_mtl.config import load_config
from coral_mtl.engine.trainer import Outcome
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run

SHIPPED = Path(__file__).parents[2] / "configs" / "schedules"
SMALL = ["data.params.train_size=128", "data.params.validation_size=32", "data.batch_size=16", "trainer.device=cpu"]


def trained(name, tmp_path, *overrides):
    """The folder's records and log of a small run: 8 steps to the epoch, and as many epochs as shipped."""
    config = load_config(SHIPPED / f"{name}.yaml", [*SMALL, *overrides, f"trainer.output_dir={tmp_path / 'run'}"])
    run = Run.create(build_experiment(config), command=["test"])
    assert run.train() is Outcome.FINISHED
    return [json.loads(line) for line in run.folder.diagnostics.read_text().splitlines()], run.folder.log.read_text()


def test_every_shipped_configuration_has_its_test():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    compared = {"restarts"}  # in test_shipped_experiments.py
    assert {path.stem for path in SHIPPED.glob("*.yaml")} <= tested | compared


def test_warm_restarts(tmp_path):
    records, log = trained("warm_restarts", tmp_path)
    rates = [record["lr"] for record in records]
    peaks = [step for step, rate in enumerate(rates) if rate == max(rates)]
    assert peaks == [8, 24, 48], "a warm-up of 8 steps, then cycles of 16, 24 and 36"
    assert "the run ends at 89% of a cycle" in log
    assert "cycles end after 6 epochs and 10.5 epochs" in log


def test_aggressive_restart(tmp_path):
    records, log = trained("aggressive_restart", tmp_path)
    assert {record["lr"] for record in records[::8]} == {4e-3}
    assert all(record["lr"] < 4e-3 for record in records if (record["step"] - 1) % 8)
    assert "cycle" not in log


def test_two_stage(tmp_path):
    records, log = trained("two_stage", tmp_path)
    assert "step 48: stage 2 begins, weights of the best validation restored" in log
    assert all(record["inactive_tasks"] == {"ink": "weight 0"} for record in records[:48])
    assert all("ink" not in record["unweighted_losses"] for record in records[:48])
    assert all(record["task_weights"]["ink"] == 0.1 for record in records[48:])
    assert records[48]["lr"] < 0.1 * records[47]["lr"] < records[70]["lr"]


def test_scheduled_weights(tmp_path):
    records, _ = trained("scheduled_weights", tmp_path)
    first, last = records[0], records[60]
    for record in (first, last):  # steps at which the norms are measured
        assert "gradient_norm" in record
    shares = [r["task_weights"]["left"] * r["gradient_norm"]["left"] for r in (first, last)]
    others = [r["task_weights"]["right"] * r["gradient_norm"]["right"] for r in (first, last)]
    assert shares[0] / others[0] == pytest.approx(0.9 / 0.2, rel=1e-6)
    assert shares[1] < others[1]


def test_adaptive_weights(tmp_path):
    records, _ = trained("adaptive_weights", tmp_path)
    for record in records:
        assert record["switch_regime"] in (0, 1, 2)
        assert 0.05 <= record["task_weights"]["ink"] <= 1.0
    assert records[0]["gradient_ratio"] == pytest.approx(
        records[0]["gradient_norm"]["ink"] / records[0]["gradient_norm"]["left"]
    )


def test_constrained_heads(tmp_path):
    records, _ = trained("constrained_heads", tmp_path)
    measured = [record for record in records if "constraints" in record]
    assert [record["step"] for record in measured] == list(range(1, 65, 10))
    positive = measured[-1]["constraints"]["positive"]["heads.ink.weight"]
    assert positive["violation"] == 0.0
    assert positive["active"] > 0
    assert set(measured[-1]["constraints"]["bounded"]) == {f"heads.{task}.bias" for task in ("left", "right", "ink")}
    assert measured[0]["regularisers"]["sparse"] < measured[-1]["regularisers"]["sparse"]
