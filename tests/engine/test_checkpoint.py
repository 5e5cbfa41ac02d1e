import os
import pickle

import numpy as np
import pytest
import torch

from coral_mtl import atomic
from coral_mtl.atomic import atomic_writing
from coral_mtl.engine.checkpoint import Checkpoints, load_checkpoint, save_checkpoint
from coral_mtl.engine.randomness import generators_state, load_generators_state, seed_everything
from coral_mtl.errors import CheckpointError


def test_what_is_saved_is_loaded(tmp_path):
    state = {
        "weights": torch.arange(6.0).reshape(2, 3),
        "step": 7,
        "nested": {"name": "a", "none": None, "pair": (1, 2.5)},
    }
    save_checkpoint(tmp_path / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == {"format": 1, **state}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch, moment):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def crash(*arguments, **options):
        raise KeyboardInterrupt

    if moment == "write":
        monkeypatch.setattr(torch, "save", lambda state, file: (file.write(b"half of it"), crash()))
    elif moment == "fsync":
        monkeypatch.setattr(os, "fsync", crash)
    else:
        monkeypatch.setattr(atomic.Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    save_checkpoint(path, {"step": 3})
    assert load_checkpoint(path)["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"], "a crash leaves nothing behind that piles up"


def test_the_file_and_its_folder_reach_the_disk_before_and_after_renaming(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, atomic.Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), real_fsync(number)))
    monkeypatch.setattr(atomic.Path, "replace", lambda *paths: (calls.append("replace"), real_replace(*paths)))
    with atomic_writing(tmp_path / "file") as file:
        file.write(b"x")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content",
    [b"", b"no checkpoint", b"PK\x03\x04" + bytes(100), pickle.dumps({"format": 1})],
    ids=["empty", "text", "half a zip", "a pickle"],
)
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read this checkpoint|not a coral-mtl checkpoint"):
        load_checkpoint(tmp_path / "last.pt")


def test_nobody_is_told_to_run_what_a_file_says(tmp_path):
    torch.save({"format": 1, "path": tmp_path}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="holds something else than tensors") as caught:
        load_checkpoint(tmp_path / "last.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_checkpoint_is_refused(tmp_path, cut):
    save_checkpoint(tmp_path / "last.pt", {"weights": torch.randn(1000)})
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(CheckpointError, match="cannot read this checkpoint"):
        load_checkpoint(tmp_path / "last.pt")


class Evil:
    ran = False

    def __reduce__(self):
        return (setattr, (Evil, "ran", True))


def test_nothing_that_a_checkpoint_says_is_executed(tmp_path):
    torch.save({"format": 1, "evil": Evil()}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="cannot read this checkpoint"):
        load_checkpoint(tmp_path / "last.pt")
    assert not Evil.ran


def test_other_programs_files_and_other_formats_are_refused(tmp_path):
    for content in ({"model": {}}, {"format": 2}, [1, 2]):
        torch.save(content, tmp_path / "last.pt")
        with pytest.raises(CheckpointError, match="not a coral-mtl checkpoint of format 1"):
            load_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_of_another_run_or_configuration_is_refused(tmp_path):
    own = Checkpoints(tmp_path / "checkpoints", "run", "epochs: 3", {"torch": "1"})
    own.save({"step": 4})
    assert own.load_last()["trainer"] == {"step": 4}
    with pytest.raises(CheckpointError, match="is of the run run, and the folder is of other"):
        Checkpoints(own.folder, "other", own.config, {}).load_last()
    with pytest.raises(CheckpointError, match="a run cannot change half way"):
        Checkpoints(own.folder, own.run, "epochs: 4", {}).load_last()


def test_every_generator_comes_back(tmp_path):
    import random

    def draws():
        return (torch.randn(3).tolist(), np.random.normal(size=3).tolist(), random.random(), random.gauss(0, 1))

    seed_everything(3)
    draws()
    save_checkpoint(tmp_path / "generators.pt", {"generators": generators_state()})
    expected = [draws(), draws()]
    load_generators_state(load_checkpoint(tmp_path / "generators.pt")["generators"])
    assert [draws(), draws()] == expected
    seed_everything(3)
    assert draws() not in expected
