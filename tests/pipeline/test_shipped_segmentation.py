"""The configurations of configs/segmentation: valid, and trained, validated and evaluated on real images."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coral_mtl.cli import app
from coral_mtl.config import load_config

SHIPPED = Path(__file__).parents[2] / "configs" / "segmentation"
CORALSCAPES = [f"coralscapes_{name}" for name in ("uncertainty", "nash_mtl", "imgrad", "uncertainty_pcgrad")]


def test_every_configuration_is_valid_and_tested_here():
    names = {path.stem for path in SHIPPED.glob("*.yaml") if not path.stem.endswith("_tasks")}
    assert names == {"camvid", *CORALSCAPES}
    for name in names:
        load_config(SHIPPED / f"{name}.yaml")


def trained_and_evaluated(name, run, *overrides):
    overrides = (f"trainer.output_dir={run}", "trainer.epochs=1", "trainer.device=cpu", *overrides)
    trained = CliRunner().invoke(app, ["train", str(SHIPPED / f"{name}.yaml"), *overrides])
    assert trained.exit_code == 0, trained.output
    evaluated = CliRunner().invoke(app, ["evaluate", str(run), "--overlays", "1"])
    assert evaluated.exit_code == 0, evaluated.output
    records = [json.loads(line) for line in (run / "loss_diagnostics.jsonl").read_text().splitlines()]
    report = json.loads((run / "evaluation" / "report.json").read_text())
    return records, report


@pytest.mark.slow
def test_street_scenes(shared_data, tmp_path):
    overrides = (
        f"data.params.path={shared_data}",
        "data.batch_size=16",
        "model.params.width=4",
        "model.params.depth=3",
    )
    records, report = trained_and_evaluated("camvid", tmp_path / "run", *overrides)
    assert len(records[-1]["unweighted_losses"]) == 4
    assert 0.0 < report["metrics"]["global.mIoU"] < 1.0


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("transformers") is None, reason="needs transformers: pip install 'coral-mtl[segmentation]'"
)
@pytest.mark.parametrize("name", CORALSCAPES)
def test_reefs(name, shared_data, tmp_path):
    overrides = (
        f"data.params.path={shared_data / 'coralscapes_sample'}",
        f"data.params.pds_train_path={shared_data / 'coralscapes_patches'}",
        "data.params.patch_size=128",
        "model.params.decoder_channel=32",
        "model.params.attention_dim=16",
    )
    records, report = trained_and_evaluated(name, tmp_path / "run", *overrides)
    assert all(len(record["unweighted_losses"]) == len(record["task_weights"]) == 7 for record in records)
    assert (len(records[0]["gradient_norm"]), len(records[0]["gradient_cosine_similarity"])) == (7, 21)
    assert {"global.mIoU", "global.H-Mean", "tasks.genus.ungrouped.mIoU"} <= report["metrics"].keys()
