import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coral_mtl.config import load_config
from coral_mtl.engine.checkpoint import load_checkpoint, save_checkpoint
from coral_mtl.errors import CheckpointError, ConfigError, MissingExtraError
from coral_mtl.evaluation import evaluate as module
from coral_mtl.evaluation.evaluate import evaluate, inference_of
from coral_mtl.experiment import build_experiment
from coral_mtl.inference import SlidingWindow, WholeImage
from coral_mtl.running.run import Run

GAP = """
name: gap
data: {type: KnownOptimum, batch_size: 1, params: {train_size: 3}}
model: {type: LinearMap}
loss: {type: LogisticLoss}
metrics: {type: OptimalityGap}
trainer: {epochs: 1, device: cpu, model_selection_metric: tasks.votes.gap, metric_mode: min, output_dir: run}
"""


def lines_of(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def recorded(run, *, best):
    validations = lines_of(run / "metrics.jsonl")
    return [each for each in validations if each["best"]][-1] if best else validations[-1]


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_the_figures_are_those_that_the_run_recorded(run, checkpoint):
    found = evaluate(run, checkpoint=checkpoint, overlays=0)
    record = recorded(run, best=checkpoint == "best")
    assert found.report["run"]["step"] == record["step"]
    assert found.report["metrics"] == record["metrics"]


def test_windows_give_other_figures_and_whole_images_within_a_window_the_same(run):
    whole, within, windows = (
        evaluate(run, inference=inference, overlays=0).report["metrics"]
        for inference in (WholeImage(), SlidingWindow(window=64), SlidingWindow(window=12))
    )
    assert windows["global.NLL"] != pytest.approx(whole["global.NLL"], abs=1e-4)
    for name, value in whole.items():
        assert within[name] == pytest.approx(value, abs=1e-6), name


def test_a_run_without_segmentation_has_its_figures_alone(digits, tmp_path):
    run = shutil.copytree(digits, tmp_path / "run")
    found = evaluate(run)
    assert found.report["metrics"] == recorded(run, best=True)["metrics"]
    assert [path.name for path in found.folder.iterdir()] == ["report.json"]
    assert "classes" not in found.report


def test_the_folder_holds_the_report_the_matrices_and_the_pictures(run):
    found = evaluate(run, inference=SlidingWindow(window=16))
    assert found.folder == run / "evaluation"
    assert sorted(path.name for path in found.folder.iterdir()) == ["confusion.jsonl", "overlays", "report.json"]
    report = json.loads((found.folder / "report.json").read_text())
    assert report["settings"] == {
        "checkpoint": "best",
        "split": "validation",
        "images": 5,
        "inference": {"type": "SlidingWindow", "window": 16, "stride": 8, "batch_size": 4},
        "metrics": {"primary_tasks": ["layout", "traffic"], "boundary_thickness": 0.02, "calibration_bins": 15},
    }
    assert report["run"]["id"] == json.loads((run / "run.json").read_text())["id"]
    assert report["environment"]["torch"] == torch.__version__
    assert list(report["classes"]["layout"]["grouped"]) == ["rest", "sky", "solid"]
    assert list(report["classes"]["layout"]["ungrouped"]) == ["rest", "sky", "building", "road"]
    assert list(report["classes"]["traffic"]) == ["grouped"]


def test_the_matrices_of_the_images_add_up_to_the_report(run):
    found = evaluate(run, overlays=0)
    lines = lines_of(found.folder / "confusion.jsonl")
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4]
    assert "val 3" in lines[3]["image"]
    assert {line["run"] for line in lines} == {found.report["run"]["id"]}
    for task, levels in found.report["classes"].items():
        for level, classes in levels.items():
            total = sum(np.array(line["tasks"][task][level]) for line in lines)
            assert [each["pixels"] for each in classes.values()] == total.sum(axis=1).tolist()
            assert [each["predicted_pixels"] for each in classes.values()] == total.sum(axis=0).tolist()
            for index, each in enumerate(classes.values()):
                union = total[index].sum() + total[:, index].sum() - total[index, index]
                assert each["IoU"] == pytest.approx(total[index, index] / union if union else math.nan, nan_ok=True)


def test_pictures_are_spread_over_the_split_one_a_task(run):
    found = evaluate(run, overlays=3)
    pictures = sorted(path.name for path in (found.folder / "overlays").iterdir())
    assert pictures == [f"{index}_{task}.png" for index in (0, 2, 4) for task in ("layout", "traffic")]
    with Image.open(found.folder / "overlays" / pictures[0]) as picture:
        assert picture.width == 3 * 640 + 40
        assert picture.height > 16 * 24
    assert len(list((evaluate(run, overlays=99).folder / "overlays").iterdir())) == 10


def test_twice_is_the_same_and_replaces_the_first(run):
    first = evaluate(run)
    (first.folder / "notes.txt").write_text("mine")
    second = evaluate(run)
    differing = [key for key in first.report if first.report[key] != second.report[key]]
    assert set(differing) <= {"written"}
    assert not (second.folder / "notes.txt").exists()
    assert not list(run.glob(".evaluation*"))


def test_what_fails_half_way_leaves_the_evaluation_before_it(run, monkeypatch):
    evaluate(run, overlays=0)
    before = (run / "evaluation/report.json").read_bytes()
    monkeypatch.setattr(module, "report_of", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(run, overlays=0)
    assert (run / "evaluation/report.json").read_bytes() == before
    assert not list(run.glob(".evaluation*"))
    shutil.rmtree(run / "evaluation")
    with pytest.raises(ZeroDivisionError):
        evaluate(run, overlays=0)
    assert not (run / "evaluation").exists()


def test_what_a_killed_process_left_is_cleared_away(run):
    (run / ".evaluation.partial/overlays").mkdir(parents=True)
    (run / ".evaluation.partial/confusion.jsonl").write_text("{")
    found = evaluate(run, overlays=0)
    assert len(lines_of(found.folder / "confusion.jsonl")) == 5
    assert not (found.folder / "overlays").exists()


def test_another_folder_is_taken_unless_it_holds_something_else(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/deep"):
        assert evaluate(run, overlays=0, output=tmp_path / name).folder == tmp_path / name
        assert (tmp_path / name / "report.json").exists()
    with pytest.raises(ConfigError, match="that could be replaced"):
        evaluate(run, output=run)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="that could be replaced"):
        evaluate(run, output=tmp_path / "file")
    with pytest.raises(ConfigError, match=r"cannot be written: .*\n.*--output"):
        evaluate(run, output=tmp_path / "file/below")
    assert (tmp_path / "file").read_text() == "mine"
    assert (run / "checkpoints/last.pt").exists()


def test_the_current_folder_can_be_the_one_to_write(digits, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert evaluate(digits, output=Path()).folder == tmp_path / "here"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["report.json"]


def test_other_metrics_than_ours_are_enough(tmp_path):
    """OptimalityGap has the methods of every set of metrics, and nothing else."""
    (tmp_path / "run.yaml").write_text(GAP)
    run = Run.create(build_experiment(load_config(tmp_path / "run.yaml")), command=["test"])
    run.train()
    found = evaluate(run.folder.path)
    assert found.report["metrics"] == recorded(run.folder.path, best=True)["metrics"]
    assert set(found.report["metrics"]) == {f"tasks.votes.{figure}" for figure in ("gap", "violation", "zeros")}


def test_the_training_split_can_be_measured_too(run):
    found = evaluate(run, split="train", overlays=1)
    assert found.report["settings"]["images"] == 6
    assert len(lines_of(found.folder / "confusion.jsonl")) == 6


def test_every_batch_is_told(digits, tmp_path):
    told = []
    evaluate(shutil.copytree(digits, tmp_path / "run"), tell=lambda done, of: told.append((done, of)))
    assert told == [(20, 50), (40, 50), (50, 50)]


def test_a_checkpoint_of_another_run_or_none_is_refused(run):
    state = load_checkpoint(run / "checkpoints/best.pt")
    save_checkpoint(run / "checkpoints/best.pt", state | {"run": "another"})
    with pytest.raises(CheckpointError, match="of the run another"):
        evaluate(run)
    (run / "checkpoints/best.pt").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint here: .*no best.*\n.*--checkpoint last"):
        evaluate(run)
    assert evaluate(run, checkpoint="last", overlays=0).report["settings"]["checkpoint"] == "last"


def test_options_without_effect_are_refused(digits, run):
    for options in ({"overlays": 2}, {"surface": True}):
        with pytest.raises(ConfigError, match="no task of this run is a segmentation"):
            evaluate(digits, **options)
    with pytest.raises(ConfigError, match="no work for workers"):
        evaluate(run, workers=2)
    with pytest.raises(ConfigError, match="no effect on whole images"):
        inference_of(whole_image=True, window=4)


@pytest.mark.parametrize(
    ("hidden", "options", "extra"),
    [
        ("PIL", {}, "segmentation"),
        ("scipy", {"surface": True}, "surface-metrics"),
        ("sklearn", {"surface": True}, "surface-metrics"),
    ],
)
def test_a_missing_package_is_told_before_anything_is_predicted(run, monkeypatch, hidden, options, extra):
    def find_spec(name):
        return None if name == hidden else object()

    monkeypatch.setattr("coral_mtl.evaluation.overlays.find_spec", find_spec)
    monkeypatch.setattr("coral_mtl.evaluation.surface.beside.find_spec", find_spec)
    told = []
    with pytest.raises(MissingExtraError, match=rf"coral-mtl\[{extra}\]"):
        evaluate(run, tell=lambda *done: told.append(done), **options)
    assert told == []
    assert not (run / "evaluation").exists()
