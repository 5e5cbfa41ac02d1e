"""`coral-mtl diagnose`: thresholds from the command line, and JSON that holds everything."""

import json

import pytest
from typer.testing import CliRunner

from coral_mtl.cli import app
from coral_mtl.diagnostics.thresholds import DEFAULT

RECORD = {
    "strategy_type": "Uncertainty",
    "gradient_norm": {"a": 1.0, "b": 6.0},
    "gradient_cosine_similarity": {"a_vs_b": 0.5},
}


def call(*arguments):
    return CliRunner().invoke(app, ["diagnose", *(str(argument) for argument in arguments)])


@pytest.fixture
def file(tmp_path):
    records = [RECORD | {"step": k, "unweighted_losses": {"a": k**-0.5, "b": k**-0.5}} for k in range(1, 101)]
    path = tmp_path / "loss_diagnostics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_threshold_makes_a_figure_a_finding(file):
    assert "no findings" in call(file).output
    found = call(file, "--threshold", "imbalance_ratio=5", "--threshold", "persistent_share=0.9")
    assert found.exit_code == 0
    assert "imbalance_ratio 5, persistent_share 0.9" in found.output
    still = call(file, "--threshold", "imbalance_ratio=5", "--threshold", "min_records=101")
    assert "no findings" in still.output


@pytest.mark.parametrize(
    ("threshold", "told"),
    [
        ("imbalance_rato=5", 'did you mean "imbalance_ratio"?'),
        ("imbalance_ratio=many", "not a number"),
        ("imbalance_ratio=0.1", "it must be 1 or more"),
        ("imbalance_ratio", "write name=value"),
    ],
)
def test_a_wrong_threshold_is_told(file, threshold, told):
    found = call(file, "--threshold", threshold)
    assert found.exit_code == 2
    assert told in found.stderr
    assert found.stdout == ""


def test_json_is_strict_and_names_every_threshold(file):
    found = call(file, "--json", "--threshold", "imbalance_ratio=5")
    [run] = json.loads(found.stdout, parse_constant=lambda token: pytest.fail(f"{token} is not strict JSON"))
    assert run["thresholds"] == DEFAULT.to_dict() | {"imbalance_ratio": 5.0}
    assert [finding["kind"] for finding in run["findings"]] == ["imbalance"]
    assert run["steps"] == [1, 100]
    assert run["tasks"] == ["a", "b"]
    assert set(run) >= {"file", "run", "strategy_type", "records", "measured", "advice", "remarks", "validation_losses"}
