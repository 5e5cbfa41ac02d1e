"""`compare` and `study` from the outside: processes, Ctrl-C, exit codes, what is printed."""

import json
import shlex
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from coral_mtl.cli import app

YAML = """
data: {type: OverlappingDigits, params: {train_size: 60, validation_size: 40}, batch_size: 20}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
trainer: {epochs: 2, device: cpu}
"""
SPACE = "study: {n_trials: 2, space: {optimizer.params.lr: {type: float, low: 1e-3, high: 1e-1, log: true}}}\n"


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(YAML)
    (tmp_path / "study.yaml").write_text(YAML + SPACE)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.yaml", "--strategies", "NashMTLL"], 'did you mean "NashMTL"?'),
        (["small.yaml", "--strategies", "NashMTL(update_freq=2)"], 'did you mean "update_frequency"?'),
        (["small.yaml", "trainer.epoch=3"], 'did you mean "epochs"?'),
        (["small.yaml", "--tune", "lr"], "cannot read the grid"),
        (["small.yaml", "--metric", "tasks.left.colour"], "larger or smaller"),
        (["small.yaml", "--seeds", "0"], "--seeds"),
        (["missing.yaml"], "cannot read this file"),
        ([".", "."], "not the folder of a run"),
        (["study.yaml"], "coral-mtl study study.yaml"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_ends_with_2_and_makes_nothing(call, tmp_path, arguments, message):
    result = call("compare", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml", "study.yaml"]


def test_options_without_effect_are_refused(call, tmp_path):
    (tmp_path / "run").mkdir()
    result = call("compare", "run", "--seeds", "3")
    assert result.exit_code == 2
    assert "--seeds has no effect: these runs are there already" in result.output
    result = call("compare", "small.yaml", "--without", "DWA")
    assert result.exit_code == 2
    assert "--without has no effect: it goes with the folder of a comparison" in result.output


def test_validate_knows_studies_and_train_sends_them_on(call):
    assert call("validate", "study.yaml").output == "study.yaml: valid\n"
    result = call("train", "study.yaml")
    assert result.exit_code == 2
    assert "coral-mtl study study.yaml" in result.output


def test_a_study_is_found_and_shown_again(call, tmp_path):
    first = call("study", "study.yaml", "--output", "s")
    assert first.exit_code == 0, first.output
    assert "trial 2/2: global.score" in first.output
    assert "The best trial:" in first.stdout
    again = call("study", "s", "--json")
    assert json.loads(again.stdout)["objectives"] == {"global.score": "max"}
    assert len(json.loads(again.stdout)["trials"]) == 2


@pytest.mark.slow
def test_a_comparison_stopped_by_ctrl_c_goes_on_to_the_same_result(call, tmp_path):
    options = ["--strategies", "NashMTL(update_frequency=2)", "--seeds", "1", "--output", "c", "--jobs", "2"]
    command = [sys.executable, "-m", "coral_mtl", "compare", "small.yaml", "trainer.epochs=40", *options]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("c/runs/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 130, told
    assert "coral-mtl compare c" in told
    statuses = [json.loads(path.read_text())["status"] for path in tmp_path.glob("c/runs/*/run.json")]
    assert "interrupted" in statuses
    assert "running" not in statuses
    asked = json.loads((tmp_path / "c/comparison.json").read_text())["command"]
    assert shlex.split(asked) == ["cd", str(tmp_path), "&&", "coral-mtl", *command[3:]]
    ids = {path: json.loads(path.read_text())["id"] for path in tmp_path.glob("c/runs/*/run.json")}

    result = call("compare", "c", "--json")
    assert result.exit_code == 0, result.output
    assert {path: json.loads(path.read_text())["id"] for path in ids} == ids, "resumed, not begun again"
    stopped = json.loads(result.stdout)
    whole = call("compare", "small.yaml", "trainer.epochs=40", *options[:-4], "--output", "w", "--json")
    figures = [
        {row["strategy"]: row["figures"] for row in found["rows"]} for found in (stopped, json.loads(whole.stdout))
    ]
    assert figures[0] == figures[1]

    shown = call("compare", *sorted(tmp_path.glob("c/runs/*")))
    assert "Too few seeds" in shown.stdout
    assert "differs" not in shown.stdout


@pytest.mark.slow
def test_a_run_that_cannot_go_on_is_told_with_its_last_words(call, tmp_path):
    options = ["--strategies", "DWA", "--seeds", "1", "--output", "c"]
    assert call("compare", "small.yaml", *options).exit_code == 0
    run = tmp_path / "c/runs/00_Equal_s0"
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"status": "interrupted"}))
    (run / "checkpoints/last.pt").write_bytes(b"")
    result = call("compare", "c")
    assert result.exit_code == 1
    assert "1 run failed" in result.output
    assert "cannot read this checkpoint" in result.output
    assert "output/runs_00_Equal_s0.txt" in result.output
    assert "go on with: coral-mtl compare c" in result.output
