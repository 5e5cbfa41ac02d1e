"""Jobs in processes side by side, with stand-ins for training that are quick to start."""

import itertools
import json
import os
import subprocess
import sys

import pytest

from coral_mtl.errors import TrainingError
from coral_mtl.study import processes
from coral_mtl.study.processes import Job, run_jobs

STAND_IN = """
import json, os, pathlib, signal, sys, time
folder, command, status = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
folder.mkdir(parents=True, exist_ok=True)
def write(status):
    temporary = folder / "partial"
    temporary.write_text(json.dumps({"status": status, "command": command, "threads": os.environ["OMP_NUM_THREADS"],
                                     "failure": {"type": "TrainingError", "message": ""}}))
    temporary.replace(folder / "run.json")
def interrupted(*_):
    write("interrupted"); sys.exit(130)
signal.signal(signal.SIGINT, interrupted)
write("running")
if status == "wait":
    time.sleep(60)
if status == "crash":
    sys.exit("no memory")
write(status)
"""

POPEN = subprocess.Popen


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Make jobs that end as they are told: with a status, in a crash, or not at all ("wait")."""

    def start(command, **options):
        folder = json.loads(command[-1].partition("=")[2]) if command[3] == "train" else command[-1]
        status = os.environ[f"STATUS_{os.path.basename(folder)}"]
        return POPEN([sys.executable, "-c", STAND_IN, folder, command[3], status], **options)

    monkeypatch.setattr(processes.subprocess, "Popen", start)

    def made(**statuses):
        for name, status in statuses.items():
            monkeypatch.setenv(f"STATUS_{name}", status)
        return [
            Job(name, tmp_path / "c.yaml", (), tmp_path / "runs" / name, tmp_path / f"{name}.txt") for name in statuses
        ]

    return made


class Hooks(dict):
    def __init__(self, stop=lambda: False):
        self.begun, self.finished = [], []
        super().__init__(
            begun=lambda job: self.begun.append(job.label),
            finished=lambda job: self.finished.append(job.label),
            stop=stop,
        )


def test_every_job_is_made_once_with_one_thread(jobs):
    hooks, made = Hooks(), jobs(a="finished", b="finished", c="failed")
    assert run_jobs(made, 2, **hooks) == []
    assert sorted(hooks.begun) == sorted(hooks.finished) == ["a", "b", "c"], "a run that diverged is done"
    assert {job.facts["threads"] for job in made} == {"1"}
    again = Hooks()
    assert run_jobs(made, 2, **again) == []
    assert again.finished == ["a", "b", "c"]
    assert {job.facts["command"] for job in made} == {"train"}


def test_a_crash_leaves_the_others_alone_and_is_resumed_later(jobs, monkeypatch):
    hooks, made = Hooks(), jobs(a="crash", b="finished")
    assert run_jobs(made, 1, **hooks) == [made[0]]
    assert made[0].log.read_text() == "no memory\n"
    assert hooks.finished == ["b"]
    monkeypatch.setenv("STATUS_a", "finished")
    assert run_jobs(made, 1, **Hooks()) == []
    assert made[0].facts["command"] == "resume"


def test_a_stop_lets_what_runs_write_its_checkpoint_and_starts_nothing_more(jobs):
    hooks, made = Hooks(), jobs(a="wait", b="wait", c="finished")
    hooks["stop"] = lambda: len(hooks.begun) == 2
    assert run_jobs(made, 2, **hooks) == made
    assert [job.facts and job.facts["status"] for job in made] == ["interrupted", "interrupted", None]


def test_what_is_left_of_a_process_that_was_killed_before_its_run_began_is_cleared_away(jobs):
    (job,) = jobs(a="finished")
    job.folder.mkdir(parents=True)
    (job.folder / "config.yaml").touch()
    run_jobs([job], 1, **Hooks())
    assert not (job.folder / "config.yaml").exists()


HOLDER = """
import fcntl, json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "run.json").write_text(json.dumps({"status": "running", "command": "train"}))
log = (folder / "log.txt").open("a")
fcntl.lockf(log, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
(folder / "run.json").write_text(json.dumps({"status": sys.argv[2], "command": "train"}))
"""


@pytest.mark.parametrize(("ending", "command"), [("finished", "train"), ("running", "resume")])
def test_a_process_of_a_caller_that_was_killed_is_waited_for(jobs, ending, command):
    made = jobs(a="finished", b="finished")
    holder = [sys.executable, "-c", HOLDER, str(made[0].folder), ending]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with POPEN(holder, **pipes) as orphan:
        assert orphan.stdout.readline() == "held\n"
        assert [job.held for job in made] == [True, False]
        hooks, asked = Hooks(), itertools.count()

        def stop():
            if next(asked) == 5:
                assert not hooks.finished, "the orphan takes the only place"
                orphan.communicate("end\n")
            return False

        assert run_jobs(made, 1, **(hooks | {"stop": stop})) == []
    assert hooks.finished == ["a", "b"]
    assert [job.facts["command"] for job in made] == [command, "train"]


def test_an_error_about_one_run_stops_all(jobs):
    made = jobs(a="wait", b="wait", c="wait")

    def refuse(job):
        if job.label == "b":
            raise TrainingError("not the same weights")

    hooks = Hooks() | {"begun": refuse}
    with pytest.raises(TrainingError, match="not the same weights"):
        run_jobs(made, 2, **hooks)
    assert [job.facts and job.facts["status"] for job in made] == ["interrupted", "interrupted", None]
