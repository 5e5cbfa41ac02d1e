"""`evaluate` from the outside."""

import json

import pytest
from typer.testing import CliRunner

from coral_mtl.cli import app

YAML = """
data: {type: OverlappingDigits, params: {train_size: 40, validation_size: 20}, batch_size: 20}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
trainer: {epochs: 1, device: cpu, output_dir: run}
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(YAML)
    call = lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])  # noqa: E731
    assert call("train", "small.yaml").exit_code == 0
    return call


def test_it_prints_a_table_and_writes_a_report(call, tmp_path):
    result = call("evaluate", "run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "small, Equal, seed 0: best checkpoint, step 2, on 20 validation items"
    assert lines[2].split() == ["accuracy", "loss", "mae", "rmse", "r2", "score"]
    report = json.loads((tmp_path / "run/evaluation/report.json").read_text())
    figures = report["metrics"]
    assert lines[3].split() == ["left", f"{figures['tasks.left.accuracy']:.4f}", f"{figures['tasks.left.loss']:.4f}"]
    assert lines[6].split() == ["global", f"{figures['global.loss']:.4f}", f"{figures['global.score']:.4f}"]
    assert lines[-1] == "run/evaluation"


def test_the_options_are_passed_on(call, tmp_path):
    result = call("evaluate", "run", "--checkpoint", "last", "--split", "train", "--output", "there", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report == json.loads((tmp_path / "there/report.json").read_text())
    assert report["settings"] == {
        "checkpoint": "last", "split": "train", "images": 40, "inference": {"type": "WholeImage"},
    }  # fmt: skip
    assert not (tmp_path / "run/evaluation").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "not the folder of a run"),
        (["run", "--whole-image", "--window", "64"], 2, "no effect on whole images"),
        (["run", "--window", "64", "--stride", "65"], 2, "leaves gaps"),
        (["run", "--overlays", "3"], 2, "no task of this run is a segmentation"),
        (["run", "--device", "cuda:7"], 2, "no device"),
        (["run", "--checkpoint", "first"], 2, "first"),
        (["run", "--output", "run"], 2, "that could be replaced"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_done_is_told(call, tmp_path, arguments, code, message):
    result = call("evaluate", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run/evaluation").exists()


def test_a_damaged_checkpoint_ends_with_1(call, tmp_path):
    (tmp_path / "run/checkpoints/best.pt").write_bytes(b"")
    result = call("evaluate", "run")
    assert result.exit_code == 1
    assert "cannot read this checkpoint" in result.output
