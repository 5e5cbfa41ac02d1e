"""What run.json says about where a run starts from, what it took, and why it failed."""

import json

import pytest
import torch

from coral_mtl.config import load_config
from coral_mtl.errors import TrainingError
from coral_mtl.experiment import build_experiment
from coral_mtl.running.fingerprints import fingerprints
from coral_mtl.running.run import Run
from coral_mtl.running.usage import Meter

YAML = """
data: {type: OverlappingDigits, params: {train_size: 40, validation_size: 20}, batch_size: 20}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
trainer: {epochs: 2, device: cpu, max_nonfinite_steps: 1}
"""


@pytest.fixture
def build(tmp_path):
    (tmp_path / "small.yaml").write_text(YAML)
    return lambda *overrides: build_experiment(load_config(tmp_path / "small.yaml", overrides))


def about(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize(
    ("override", "weights", "data"),
    [
        ("loss.weighting_strategy.type=NashMTL", True, True),
        ("optimizer.params.lr=0.1", True, True),
        ("seed=1", False, False),
        ("model.params.features=4", False, True),
        ("data.params.seed=1", True, False),
        ("data.params.ink_scale=2.0", True, False),
        ("data.params.validation_size=21", True, True),
    ],
)
def test_fingerprints_tell_other_weights_and_other_data(build, override, weights, data):
    first, second = fingerprints(build()), fingerprints(build(override))
    assert (first["weights"] == second["weights"]) is weights
    assert (first["data"] == second["data"]) is data


def test_taking_fingerprints_changes_nothing(build):
    experiment = build()
    before = torch.get_rng_state()
    assert fingerprints(experiment) == fingerprints(experiment)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_tells_where_it_started_and_what_it_took(build, tmp_path):
    run = Run.create(build(f"trainer.output_dir={tmp_path / 'run'}"), command=["test"])
    prints = about(tmp_path / "run")["fingerprints"]
    run.train()
    facts = about(tmp_path / "run")
    assert facts["fingerprints"] == prints == fingerprints(build())
    usage = facts["usage"]
    assert usage["steps"] == 4
    assert usage["seconds"] > 0 < usage["cpu_seconds"]
    assert usage["peak_memory"] > 50_000_000
    assert usage["peak_device_memory"] is None


def test_sessions_of_a_run_add_up(build, tmp_path):
    asked = iter([False, True])
    folder = tmp_path / "run"
    Run.create(build(f"trainer.output_dir={folder}"), command=["test"]).train(stop=lambda: next(asked))
    first = about(folder)["usage"]
    Run.reopen(folder).train()
    both = about(folder)["usage"]
    assert (first["steps"], both["steps"]) == (2, 4)
    assert both["seconds"] > first["seconds"]


def test_a_failure_is_told_until_the_run_goes_on(build, tmp_path):
    folder = tmp_path / "run"
    run = Run.create(build(f"trainer.output_dir={folder}", "data.params.ink_scale=1e30"), command=["test"])
    with pytest.raises(TrainingError):
        run.train()
    facts = about(folder)
    assert facts["failure"]["type"] == "TrainingError"
    assert "task 'ink'" in facts["failure"]["message"]
    run.folder.record("running")
    assert "failure" not in about(folder)


def test_a_meter_counts_on():
    before = {"steps": 10, "seconds": 5.0, "cpu_seconds": 4.0, "peak_memory": 2**60, "peak_device_memory": None}
    read = Meter(torch.device("cpu"), before).read(3)
    assert read["steps"] == 13
    assert 5.0 < read["seconds"] < 65.0
    assert read["peak_memory"] == 2**60
