"""Real processes, really interrupted and killed: what is resumed is the run that never stopped."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest

YAML = """
name: long
data: {type: OverlappingDigits, params: {train_size: 200, validation_size: 20}, batch_size: 8}
model: {type: SharedTrunk, params: {width: 4, features: 16, dropout: 0.3}}
loss: {weighting_strategy: {type: Uncertainty}}
optimizer: {use_pcgrad_wrapper: true}
trainer: {epochs: 12, device: cpu, checkpoint_every: 7}
"""
"""300 steps: some seconds."""

pytestmark = pytest.mark.slow


class Training:
    """`coral-mtl train` or `resume` in a process of its own."""

    def __init__(self, *arguments, folder):
        self.folder = folder
        command = [sys.executable, "-m", "coral_mtl", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "random"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes, env=environment, cwd=folder.parent, start_new_session=True)

    def wait_for_checkpoint(self, seconds):
        """Wait for a checkpoint of this process, then so many seconds more."""
        last = self.folder / "checkpoints/last.pt"
        began = time.time()
        while not (last.exists() and last.stat().st_mtime > began):
            assert self.process.poll() is None, self.process.communicate()
            assert time.time() < began + 120
            time.sleep(0.005)
        time.sleep(seconds)
        return self

    def end(self, number=None, *, whole_group=False):
        if number is not None:
            (os.killpg if whole_group else os.kill)(self.process.pid, number)
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


def train(config, folder, *, workers):
    return Training("train", config, f"trainer.output_dir={folder}", f"data.num_workers={workers}", folder=folder)


def left_behind(folder):
    """Records without clocks and ids, and the last checkpoint's figures."""
    import torch

    records = {}
    for name in ("loss_diagnostics.jsonl", "metrics.jsonl"):
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for line in lines:
            del line["run"]
            line.get("solver", {}).pop("seconds", None)
        records[name] = lines
    states = [
        torch.load(folder / "checkpoints" / name, weights_only=True)["trainer"] for name in ("last.pt", "best.pt")
    ]
    return records, [flattened(state) for state in states]


def flattened(state, name=""):
    if hasattr(state, "numpy"):
        return {name: (str(state.dtype), tuple(state.shape), state.numpy().tobytes())}
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {key: value for part, inner in items for key, value in flattened(inner, f"{name}.{part}").items()}
    return {name: repr(state)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The configuration and what a run leaves behind that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "long.yaml").write_text(YAML)
    code, _, err = train(folder / "long.yaml", folder / "run", workers=0).end()
    assert code == 0, err
    return folder / "long.yaml", left_behind(folder / "run")


@pytest.mark.parametrize("whole_group", [False, True], ids=["the process", "its workers too"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_printed_command_goes_on(whole, tmp_path, number, whole_group):
    config, expected = whole
    folder = tmp_path / "a run"
    code, _, err = train(config, folder, workers=2).wait_for_checkpoint(0.1).end(number, whole_group=whole_group)
    assert code == 130, err
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    command = next(line for line in err.splitlines() if "coral-mtl resume" in line)
    program, *arguments = shlex.split(command)
    assert program == "coral-mtl"
    code, _, err = Training(*arguments, folder=folder).end()
    assert code == 0, err
    assert left_behind(folder) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_again_and_again_it_ends_the_same(whole, tmp_path, workers):
    config, expected = whole
    folder = tmp_path / "run"
    draw = random.Random(0)
    process = train(config, folder, workers=workers)
    kills = 0
    for _ in range(3):
        code, _, _ = process.wait_for_checkpoint(draw.uniform(0.0, 0.3)).end(signal.SIGKILL)
        kills += code == -signal.SIGKILL
        process = Training("resume", folder, folder=folder)
    code, _, err = process.end()
    assert code == 0, err
    assert kills >= 2
    assert left_behind(folder) == expected


def test_a_second_signal_kills_at_once_and_the_run_can_still_be_resumed(whole, tmp_path):
    config, expected = whole
    folder = tmp_path / "run"
    process = train(config, folder, workers=2).wait_for_checkpoint(0.1)
    for _ in range(5):
        process.process.send_signal(signal.SIGINT)
    code, _, _ = process.end()
    assert code in (130, -signal.SIGINT)
    code, _, err = Training("resume", folder, folder=folder).end()
    assert code == 0, err
    assert left_behind(folder) == expected
