import json
import re
import subprocess
import sys
from datetime import datetime

import pytest

from coral_mtl.errors import ConfigError
from coral_mtl.running.environment import git_commit
from coral_mtl.running.folder import RunFolder, default_path


def make(path):
    return RunFolder.create(path, "epochs: 3\n", {"name": "x"}, ["coral-mtl", "train"])


def test_a_folder_is_made_and_opened_again(tmp_path):
    folder = make(tmp_path / "a/b")
    assert (tmp_path / "a/b/config.yaml").read_text() == "epochs: 3\n"
    folder.record("interrupted")
    again = RunFolder.open(tmp_path / "a/b")
    assert again.id == folder.id
    assert json.loads((tmp_path / "a/b/run.json").read_text())["status"] == "interrupted"
    assert make(tmp_path / "c").id != folder.id


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "loss_diagnostics.jsonl", "checkpoints"])
def test_a_folder_with_files_of_a_run_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match=re.escape(f"already holds a run ({name})")):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_where_no_folder_can_be_is_told_with_what_to_do(tmp_path, place):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match=r"cannot be written: .*\n    choose another folder with trainer\.output_dir"):
        make(tmp_path / place)
    assert (tmp_path / "file").read_text() == "precious"


def test_other_files_in_the_folder_do_no_harm(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"id": '])
def test_what_is_no_run_is_not_opened(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match="this is not the folder of a run"):
        RunFolder.open(tmp_path)


def test_default_folders_are_named_by_date_strategy_and_seed_and_never_meet(tmp_path):
    first = default_path("digits", "NashMTL", 7, tmp_path)
    date, rest = first.name[:19], first.name[19:]
    datetime.strptime(date, "%Y-%m-%d_%H-%M-%S")
    assert (first.parent, rest) == (tmp_path / "digits", "_NashMTL_s7")
    paths = set()
    for _ in range(3):
        path = default_path("digits", "NashMTL", 7, tmp_path)
        path.mkdir(parents=True)
        paths.add(path)
    assert len(paths) == 3


def test_two_processes_cannot_write_one_run(tmp_path):
    folder = make(tmp_path)
    script = (
        "from pathlib import Path; from coral_mtl.running.folder import RunFolder\n"
        f"with RunFolder.open(Path({str(tmp_path)!r})).claimed_log(): print('claimed', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "claimed\n"
    with pytest.raises(ConfigError, match="another process is training in this folder"), folder.claimed_log():
        pass
    holder.kill()
    holder.communicate()
    with folder.claimed_log() as log:
        log.write("free again\n")
    assert (tmp_path / "log.txt").read_text() == "free again\n"


def test_the_commit_is_told_where_there_is_one(tmp_path):
    assert git_commit(tmp_path) is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"
