"""A run's model as one of its checkpoints holds it, with its data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coral_mtl.config import dump_config, load_config
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.experiment import Experiment, build_experiment
from coral_mtl.running.environment import describe_environment
from coral_mtl.running.folder import RunFolder

Which = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """The parts of a run, its model with the weights of optimiser step `step`, in evaluation mode."""

    folder: RunFolder
    experiment: Experiment
    step: int
    environment: dict[str, str]

    @property
    def segmentations(self) -> dict[str, TaskSpec]:
        """Its segmentation tasks."""
        return {task: spec for task, spec in self.experiment.data.tasks.items() if spec.kind == "segmentation"}

    @classmethod
    def load(cls, path: Path, checkpoint: Which, device: str | None) -> "TrainedRun":
        """Build what the run in the folder `path` was made of, and load a checkpoint's weights.

        Args:
            path: folder of the run.
            checkpoint: that of the best validation, or the last one.
            device: where to compute; None takes the run's own `trainer.device`.

        Raises:
            ConfigError: `path` is not the folder of a run, or there is no such device.
            CheckpointError: the checkpoint is missing, damaged, or of another run or configuration.
        """
        folder = RunFolder.open(path)
        as_trained = load_config(folder.config)
        experiment = build_experiment(
            load_config(folder.config, [f"trainer.device={device}"]) if device else as_trained
        )
        environment = describe_environment(experiment.device)
        checkpoints = Checkpoints(folder.checkpoints, folder.id, dump_config(as_trained), environment)
        state = (checkpoints.load_best() if checkpoint == "best" else checkpoints.load_last())["trainer"]
        experiment.model.load_state_dict(state["model"])
        experiment.model.eval()
        return cls(folder, experiment, state["step"], environment)
