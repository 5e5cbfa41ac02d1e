"""Figures for Weights & Biases."""

from collections.abc import Mapping

from coral_mtl.config.sections import WandB as Settings
from coral_mtl.errors import MissingExtraError
from coral_mtl.trackers.tracker import TrackedRun


class WandB:
    """A run of Weights & Biases under the run's own id; offline it is written to `wandb/` of the run's folder."""

    def __init__(self, run: TrackedRun, settings: Settings) -> None:
        """Open the run, or take it up again.

        Raises:
            MissingExtraError: wandb is not installed.
        """
        try:
            import wandb  # noqa: PLC0415 - an extra
        except ImportError as problem:
            raise MissingExtraError("Weights & Biases", "wandb", "wandb") from problem
        self._run = wandb.init(
            project=settings.project or run.experiment,
            id=run.id,
            name=run.name,
            dir=run.folder,
            mode=settings.mode,
            config=dict(run.config),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        # Own steps in place of W&B's counter, which refuses those that a resumed run takes a second time.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand over the figures; W&B sends them in the background."""
        self._run.log({**values, "step": step})

    def close(self, *, failed: bool) -> None:
        """Wait until all is sent or written; a failed run is marked as failed."""
        self._run.finish(exit_code=int(failed))
