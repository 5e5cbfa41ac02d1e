"""`train` and `resume` from the outside: what they print, create and return."""

import json
import shlex

import pytest
import yaml
from typer.testing import CliRunner

from coral_mtl.cli import app

YAML = """
data: {type: OverlappingDigits, params: {train_size: 60, validation_size: 20}, batch_size: 20}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
loss: {weighting_strategy: {type: uncertainty}}
trainer: {epochs: 2, device: cpu}
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(YAML)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_folders(tmp_path):
    return sorted(tmp_path.glob("runs/*/*"))


def test_train_fills_a_run_folder_and_says_where(call, tmp_path):
    result = call("train", "small.yaml", "seed=3", "optimizer.use_pcgrad_wrapper=true")
    assert result.exit_code == 0, result.output
    (folder,) = run_folders(tmp_path)
    assert folder.parent.name == "small"
    assert folder.name.endswith("_Uncertainty+PCGrad_s3")
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "run.json", "loss_diagnostics.jsonl", "metrics.jsonl", "checkpoints", "log.txt",
    }  # fmt: skip
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.pt", "best.pt"}
    assert result.output.rstrip().endswith(f"finished: {folder.relative_to(tmp_path)}")
    about = json.loads((folder / "run.json").read_text())
    assert about["status"] == "finished"
    assert about["seed"] == 3
    assert about["environment"].keys() >= {"coral-mtl", "torch", "numpy", "python", "device", "threads"}
    records = [json.loads(line) for line in (folder / "loss_diagnostics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {record["run"] for record in records} == {about["id"]}
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(record["epoch"], record["step"]) for record in metrics] == [(0, 3), (1, 6)]


def test_the_output_tells_what_the_run_is(call):
    output = call("train", "small.yaml", "loss.weighting_strategy.type=PCGrad").output
    assert "left (classification), right (classification), ink (regression)" in output
    assert "strategy: PCGrad, 3 backward passes a batch" in output
    assert "90 of left, 90 of right, 9 of ink" in output, "8 features to 10, 10 and 1 outputs"
    assert "6 steps in 2 epochs on cpu, float32, seed 0" in output
    assert "epoch 2/2  global.score" in output


def test_the_resolved_configuration_trains_again_to_the_same_figures(call, tmp_path):
    call("train", "small.yaml")
    (first,) = run_folders(tmp_path)
    assert call("train", first / "config.yaml", "name=again").exit_code == 0
    (second,) = tmp_path.glob("runs/again/*")
    metrics = [
        [json.loads(line)["metrics"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (first, second)
    ]
    assert metrics[0] == metrics[1]
    resolved = yaml.safe_load((first / "config.yaml").read_text())
    assert resolved["loss"]["weighting_strategy"]["type"] == "Uncertainty"
    assert resolved["trainer"]["val_frequency"] == 1


def test_output_dir_is_obeyed_and_never_overwritten(call, tmp_path):
    assert call("train", "small.yaml", "trainer.output_dir=here").exit_code == 0
    before = (tmp_path / "here/loss_diagnostics.jsonl").read_bytes()
    again = call("train", "small.yaml", "trainer.output_dir=here")
    assert again.exit_code == 2
    assert "already holds a run" in again.output
    assert "coral-mtl resume" in again.output
    assert (tmp_path / "here/loss_diagnostics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.epochs=0"], "greater than 0"),
        (["loss.weighting_strategy.type=NashMTLL"], 'did you mean "NashMTL"?'),
        (["loss.weighting_strategy.type=MGDA", "optimizer.use_pcgrad_wrapper=true"], "PCGrad"),
        (["trainer.device=cuda:7"], "no device"),
        (["nonsense"], "nonsense"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_configuration_ends_with_2_and_creates_nothing(call, tmp_path, overrides, message):
    result = call("train", "small.yaml", *overrides)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_run_that_fails_ends_with_1_and_says_why(call, tmp_path):
    result = call("train", "small.yaml", "data.params.ink_scale=1e30", "trainer.max_nonfinite_steps=2")
    assert result.exit_code == 1, result.output
    assert "2 steps in a row were skipped" in result.output
    assert "task 'ink'" in result.output
    assert "Traceback" not in result.output
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"


def test_a_finished_run_is_resumed_to_nothing_new(call, tmp_path):
    call("train", "small.yaml", "trainer.output_dir=here")
    before = (tmp_path / "here/metrics.jsonl").read_bytes()
    result = call("resume", "here")
    assert result.exit_code == 0
    assert "finished: here" in result.output
    assert (tmp_path / "here/metrics.jsonl").read_bytes() == before


def test_resume_refuses_what_is_no_run_and_what_is_damaged(call, tmp_path):
    nothing = call("resume", "nowhere")
    assert nothing.exit_code == 2
    assert "not the folder of a run" in nothing.output
    call("train", "small.yaml", "trainer.output_dir=here")
    (tmp_path / "here/checkpoints/last.pt").write_bytes(b"")
    damaged = call("resume", "here")
    assert damaged.exit_code == 1
    assert "cannot read this checkpoint" in damaged.output
    assert "Traceback" not in nothing.output + damaged.output


def test_resume_tells_of_another_environment(call, tmp_path, monkeypatch):
    call("train", "small.yaml", "trainer.output_dir=here")
    monkeypatch.setattr("coral_mtl.running.environment.version", lambda package: "9.9")
    output = call("resume", "here").output
    assert "torch was " in output
    assert " and is 9.9" in output


def test_the_recorded_command_can_be_typed_again(call, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["coral-mtl", "train", "a file.yaml", "seed=3"])
    call("train", "small.yaml", "trainer.output_dir=here")
    command = json.loads((tmp_path / "here/run.json").read_text())["command"]
    assert shlex.split(command) == ["coral-mtl", "train", "a file.yaml", "seed=3"]
