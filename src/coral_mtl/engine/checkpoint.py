"""Checkpoints: the whole state of a run in one file, written so that no crash can leave half of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from coral_mtl.atomic import atomic_writing
from coral_mtl.documents.settings import changes, told
from coral_mtl.errors import CheckpointError
from coral_mtl.unreadable import UNREADABLE, reason

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` to `path` in one stroke: after a crash at any point the old file or the new one is there, whole.

    `state` holds tensors, numbers, strings, None and dicts, lists or tuples of these: what `weights_only=True` reads.
    """
    with atomic_writing(path) as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, onto the CPU, executing nothing that the file says.

    Raises:
        CheckpointError: there is no such file, it is damaged, or another program or version wrote it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no checkpoint here\n    train again, or name another run folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as problem:
        raise CheckpointError(
            f"{path}: cannot read this checkpoint: {reason(problem)}\n"
            "    it is damaged or was not written by coral-mtl; take another checkpoint of this run, or train again"
        ) from problem
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: not a coral-mtl checkpoint of format {FORMAT} (found: {found})\n"
            "    resume with the version of coral-mtl that wrote it"
        )
    return state


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run: `last.pt` to resume from, `best.pt` of the best validation.

    folder: where they are.
    run: id of the run.
    config: its resolved configuration, as text.
    environment: versions and hardware of this process, on which the last digits of a run depend.
    """

    folder: Path
    run: str
    config: str
    environment: Mapping[str, str]

    def save(self, state: Mapping[str, Any], *, best: bool = False) -> None:
        """Write the state of a trainer."""
        self.folder.mkdir(exist_ok=True)
        identity = {"run": self.run, "config": self.config, "environment": dict(self.environment)}
        save_checkpoint(self.folder / ("best.pt" if best else "last.pt"), {**identity, "trainer": dict(state)})

    def exist(self) -> bool:
        """Whether there is a checkpoint to load, good or bad."""
        return (self.folder / "last.pt").exists()

    def load_last(self) -> dict[str, Any]:
        """Return everything that the last checkpoint holds: `trainer`, `environment`, `run` and `config`.

        Raises:
            CheckpointError: it is missing, damaged, or of another run or configuration.
        """
        return self._load(self.folder / "last.pt")

    def load_best(self) -> dict[str, Any]:
        """Return the same of the best validation's checkpoint.

        Raises:
            CheckpointError: it is missing, damaged, or of another run or configuration.
        """
        path = self.folder / "best.pt"
        if not path.exists() and self.exist():
            raise CheckpointError(
                f"{path}: there is no checkpoint here: the run has no best validation so far\n"
                "    take its last checkpoint: coral-mtl evaluate RUN --checkpoint last"
            )
        return self._load(path)

    def _load(self, path: Path) -> dict[str, Any]:
        state = load_checkpoint(path)
        if state["run"] != self.run:
            raise CheckpointError(
                f"{path}: this checkpoint is of the run {state['run']}, and the folder is of {self.run}\n"
                "    put the folder's own checkpoint back, or train again"
            )
        if state["config"] != self.config:
            changed = changes(state["config"], self.config, str(path))
            raise CheckpointError(
                f"{path}: config.yaml is not what it was when this checkpoint was written, and a run cannot change "
                f"half way: {told(changed)}\n    put the old config.yaml back, and go on as another run with: "
                "coral-mtl resume FOLDER --fork KEY=VALUE"
            )
        return state
