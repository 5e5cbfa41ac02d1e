"""What a run writes down: every step, in order, complete at a checkpoint, whatever a GPU has yet to tell."""

import json

import numpy as np
import pytest

from coral_mtl.engine.reports import StepReport
from coral_mtl.engine.step import Step
from coral_mtl.errors import StrategyError
from coral_mtl.running.recorder import Recorder


class Later:
    """Figures that a GPU has not told yet: losses, and whether all was finite."""

    here = False

    def __init__(self, *values):
        self._values = values

    def values(self):
        return [np.array(value) for value in self._values]


def report(number, account):
    return StepReport(number=number, micro_step=number, epoch=0, account=account, lr=0.1, clip_factor=1.0)


def account(**fields):
    return Step(**({"tasks": ("a",), "losses": {"a": 1.0}, "weights": {"a": 1.0}} | fields))


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "loss_diagnostics.jsonl", tmp_path / "metrics.jsonl"


def test_a_checkpoint_finds_every_step_before_it_on_the_disk(paths):
    with Recorder(*paths, run="r", strategy="Equal") as recorder:
        for number in range(1, 501):
            recorder.on_step(report(number, account()))
        recorder.on_save()
        assert [record["step"] for record in records(paths[0])] == list(range(1, 501))
        recorder.on_step(report(501, account()))
    assert [record["step"] for record in records(paths[0])] == list(range(1, 502))


def test_some_steps_are_recorded_and_all_skipped_ones(paths):
    with Recorder(*paths, run="r", strategy="Equal", record_every=4) as recorder:
        for number in range(1, 11):
            late = Later([float(number)], number not in (7, 8))
            fields = {"finite": late} if number > 5 else {"skipped": "broken"} if number == 3 else {}
            recorder.on_step(report(number, account(**fields)))
    found = {record["step"]: record["skipped"] for record in records(paths[0])}
    late = "non-finite gradient of task 'a'"
    assert found == {1: None, 3: "broken", 5: None, 7: late, 8: late, 9: None}


def test_an_error_of_the_thread_comes_to_the_run(paths):
    broken = account(records={"lr": 1.0})  # the name of a field of every record
    with pytest.raises(StrategyError, match="its own record 'lr'"), Recorder(*paths, run="r", strategy="X") as recorder:
        recorder.on_step(report(1, broken))
    recorder = Recorder(*paths, run="r", strategy="X")
    recorder.on_step(report(1, broken))
    with pytest.raises(StrategyError, match="its own record 'lr'"):
        recorder.on_save()
