"""The commands that do not train."""

import json
import subprocess
import sys
from importlib.metadata import version

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from coral_mtl import registry
from coral_mtl.cli import app

GOOD = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_version_and_help():
    assert call("--version").output == f"coral-mtl {version('coral-mtl')}\n"
    help_text = call("--help").output
    for command in ("train", "resume", "validate", "strategies", "diagnose", "schema"):
        assert command in help_text
    assert call().exit_code == 2
    assert call("trian").exit_code == 2


def test_python_m_is_the_same_command():
    result = subprocess.run(
        [sys.executable, "-m", "coral_mtl", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"coral-mtl {version('coral-mtl')}\n"


def test_validate_reports_every_problem_of_every_file(tmp_path):
    good, bad, worse = (tmp_path / name for name in ("good.yaml", "bad.yaml", "worse.yaml"))
    good.write_text(GOOD)
    bad.write_text(GOOD + "trainer: {epochs: -1, val_freqency: 2}\n")
    worse.write_text("data: [")
    assert call("validate", good).output == f"{good}: valid\n"
    result = call("validate", bad, good, worse)
    assert result.exit_code == 2
    assert f"{bad}:3:" in result.output
    assert result.output.count(f"{bad}:3:") == 2
    assert f"{good}: valid" in result.output
    assert f"{worse}:" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml", "good.yaml", "worse.yaml"]


def test_strategies_list_names_each_once():
    lines = call("strategies", "list").output.splitlines()
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert sorted(names, key=str.lower) == registry.strategies.names()


@pytest.mark.parametrize("name", registry.strategies.names())
def test_strategies_show_tells_every_option(name):
    result = call("strategies", "show", name.upper())
    assert result.exit_code == 0
    for option in registry.strategies.get(name).__init__.__wrapped__.__kwdefaults__ or {}:
        assert f"  {option}: " in result.output


def test_an_unknown_strategy_gets_a_suggestion():
    result = call("strategies", "show", "Uncertanty")
    assert result.exit_code == 2
    assert 'did you mean "Uncertainty"?' in result.output


def test_the_schema_is_valid_and_accepts_a_configuration():
    schema = json.loads(call("schema").output)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    validator(schema).validate(yaml.safe_load(GOOD))
    assert not validator(schema).is_valid(yaml.safe_load(GOOD + "trainer: {epochs: 0}\n"))


def record(step, small, large):
    return {
        "step": step,
        "strategy_type": "Uncertainty",
        "unweighted_losses": {"a": 1.0, "b": 1.0},
        "gradient_norm": {"a": small, "b": large},
        "gradient_cosine_similarity": {"a_vs_b": 0.5},
    }


def test_diagnose_reads_a_file_and_says_what_to_do(tmp_path):
    file = tmp_path / "loss_diagnostics.jsonl"
    file.write_text("".join(json.dumps(record(step, 0.01, 10.0)) + "\n" for step in range(1, 101)))
    text = call("diagnose", file)
    assert text.exit_code == 0
    assert "NashMTL" in text.output
    found = json.loads(call("diagnose", tmp_path, "--json").output)
    assert [entry["kind"] for entry in found[0]["findings"]].count("imbalance") == 1


def test_diagnose_refuses_what_it_cannot_read(tmp_path):
    (tmp_path / "poem.txt").write_text("Shall I compare thee\n")
    for path in (tmp_path / "poem.txt", tmp_path / "nothing.jsonl", tmp_path):
        result = call("diagnose", path)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
