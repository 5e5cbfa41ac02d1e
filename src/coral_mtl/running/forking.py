"""A run that goes on as another one: with another schedule, learning rate or length, from the old checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coral_mtl.config import Config, dump_config, load_config
from coral_mtl.documents.settings import changes, told
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import build_experiment
from coral_mtl.running.environment import describe_environment
from coral_mtl.running.folder import RunFolder
from coral_mtl.running.run import Run

_FIXED = (
    "seed",
    "data.type",
    "data.params",
    "model",
    "loss.type",
    "loss.params",
    "loss.balance",
    "loss.weighting_strategy.type",
    "loss.weighting_strategy.over.type",
    "loss.weighting_strategy.over.times.type",
    "loss.weighting_strategy.times.type",
    "loss.weighting_strategy.weight_averaging",
    "loss.weighting_strategy.clip_direction",
    "optimizer.type",
    "optimizer.use_pcgrad_wrapper",
    "constraints",
)
"""What the state of a run belongs to, so that a fork cannot change it."""
_MEASURE = (
    "trainer.model_selection_metric",
    "trainer.metric_mode",
    "metrics",
    "evaluator.type",
    "evaluator.params",
)
"""What a validation's selection metric depends on; figures from before a change of these say nothing after it."""
_FOLDER = "trainer.output_dir"


def fork(path: Path, overrides: Sequence[str], *, command: Sequence[str]) -> Run:
    """Make a new run that goes on from the last checkpoint of the run in `path`, with the overridden settings.

    Its folder is a new one, its `run.json` says where it came from and what changed, and its first checkpoint is the
    old one at the new learning rates. From there on it is a run as any other. Where its selection metric is another
    one, or measured in another way, it has no best validation yet.

    Raises:
        ConfigError: `path` is no run, nothing changes, or something that a fork cannot change.
        CheckpointError: the checkpoint is missing or damaged.
    """
    folder = RunFolder.open(path)
    config = _forked_config(folder, overrides)
    old, new = folder.config.read_text(encoding="utf-8"), dump_config(config)
    changed = {key: pair for key, pair in changes(old, new, str(folder.config)).items() if key != _FOLDER}
    _check(path, changed)
    parent = Checkpoints(folder.checkpoints, folder.id, old, {})
    saved = parent.load_last()["trainer"]
    experiment = build_experiment(config)
    trainer = experiment.trainer()
    trainer.load_state_dict(_translated(saved, experiment.optimizer))
    if trainer.sampler.epoch >= config.trainer.epochs:
        raise ConfigError(
            f"{path}: the run has trained {trainer.sampler.epoch} epochs, and the fork is to end after "
            f"{config.trainer.epochs}\n    give it more, such as trainer.epochs={2 * trainer.sampler.epoch}"
        )
    _check_snapshots(path, config.trainer.snapshots, trainer.sampler.epoch, saved["snapshots"])
    trainer.controllers.fork(trainer.clock, other_metric=bool(_among(_MEASURE, changed)))
    origin = {"run": folder.id, "folder": str(path.resolve()), "step": trainer.step}
    run = Run.create(experiment, command=command, facts={"forked_from": origin | {"changes": changed}})
    checkpoints = Checkpoints(run.folder.checkpoints, run.folder.id, new, describe_environment(experiment.device))
    if trainer.controllers.selection.best is not None:
        checkpoints.save(parent.load_best()["trainer"], best=True)
    checkpoints.save(trainer.state_dict())
    return Run.reopen(run.folder.path)


def refuse_changes(path: Path, overrides: Sequence[str]) -> None:
    """Raise ConfigError where the overrides would change the run in `path`, and say what."""
    folder = RunFolder.open(path)
    config = load_config(folder.config, overrides)
    changed = changes(folder.config.read_text(encoding="utf-8"), dump_config(config), str(folder.config))
    if changed:
        raise ConfigError(
            f"{path}: a run cannot change half way: {told(changed)}\n"
            "    leave that out to go on as before, or add --fork to go on as another run"
        )


def _forked_config(folder: RunFolder, overrides: Sequence[str]) -> Config:
    """The configuration of the fork, which does not go to the folder of the old run."""
    elsewhere = any(override.partition("=")[0].strip() == _FOLDER for override in overrides)
    return load_config(folder.config, overrides if elsewhere else [*overrides, f"{_FOLDER}=null"])


def _check(path: Path, changed: Mapping[str, tuple[str, str]]) -> None:
    if not changed:
        raise ConfigError(f"{path}: nothing changes\n    say what, such as trainer.epochs=40, or leave out --fork")
    if fixed := _among(_FIXED, changed):
        raise ConfigError(
            f"{path}: a fork goes on with the same data, model, loss and methods, but {told(fixed)}\n"
            "    train that as a run of its own"
        )


def _among(keys: Sequence[str], changed: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The changes of these keys, and of what is in them."""
    return {key: pair for key, pair in changed.items() if any(f"{key}.".startswith(f"{own}.") for own in keys)}


def _check_snapshots(path: Path, wanted: Sequence[int], epoch: int, kept: Mapping[int, Any]) -> None:
    missed = [own for own in wanted if own <= epoch and own not in kept]
    if missed:
        raise ConfigError(
            f"{path}: trainer.snapshots asks for the weights after epoch {missed[0]}, which the run did not keep, and "
            f"it has trained {epoch} epochs\n    name epochs from {epoch + 1} on, and those that it kept"
            f"{f': {sorted(kept)}' if kept else ''}"
        )


def _translated(saved: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    moved, schedule = optimizer.translated(saved["optimizer"], saved["schedule"])
    return {**saved, "optimizer": moved, "schedule": schedule}
