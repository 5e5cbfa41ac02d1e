"""The trackers themselves, each where its package is installed: what they were told can be read back."""

import json
import struct

import pytest

from coral_mtl.config.sections import MLflow, WandB
from coral_mtl.trackers.tracker import TrackedRun


def run(folder, step=0):
    config = {"seed": 3, "optimizer": {"params": {"lr": 0.1}}, "note": "x" * 9000}
    return TrackedRun(id="0123456789abcdef", name="first", experiment="reef", folder=folder, step=step, config=config)


def tell(tracker, steps, failed=False):
    for step in steps:
        tracker.log(step, {"train/loss/a <b>": 1.0 / step, "val/global/score": float("nan")})
    tracker.close(failed=failed)


def test_tensorboard_reads_back_what_it_was_told_and_forgets_what_a_resumed_run_takes_back(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from coral_mtl.trackers.tensorboard import TensorBoard

    tell(TensorBoard(run(tmp_path)), [1, 2, 3, 4])
    tell(TensorBoard(run(tmp_path, step=2)), [3, 4, 5])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss/a <b>")] == [1, 2, 3, 4, 5]


def test_mlflow_keeps_figures_and_parameters_and_takes_the_run_up_again(tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow import MlflowClient

    from coral_mtl.trackers.mlflow import MLflow as Tracker

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = MLflow(tracking_uri=store)
    client = MlflowClient(tracking_uri=store)

    def found():
        return client.search_runs([client.get_experiment_by_name("reef").experiment_id])

    tell(Tracker(run(tmp_path), settings), range(1, 1201), failed=True)
    assert [each.info.status for each in found()] == ["FAILED"]
    tell(Tracker(run(tmp_path, step=1200), settings), range(1201, 1203))
    runs = found()
    assert [each.info.status for each in runs] == ["FINISHED"]
    assert runs[0].data.params["optimizer.params.lr"] == "0.1"
    history = client.get_metric_history(runs[0].info.run_id, "train/loss/a _b_")
    assert sorted(metric.step for metric in history) == list(range(1, 1203))
    assert {metric.step: metric.value for metric in history}[4] == 0.25


def wandb_records(path):
    """The records of W&B's file: a header of 7 bytes, then blocks of 32 KiB in the format of LevelDB's log."""
    content, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too little of a block is left for another header
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb_writes_offline_under_the_runs_own_id(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    from coral_mtl.trackers.wandb import WandB as Tracker

    tell(Tracker(run(tmp_path), WandB(mode="offline")), [1, 2, 3])
    (written,) = tmp_path.glob("wandb/offline-run-*/run-0123456789abcdef.wandb")
    told = []
    for content in wandb_records(written):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        if items:
            told.append((items["step"], items["train/loss/a <b>"]))
    assert told == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
