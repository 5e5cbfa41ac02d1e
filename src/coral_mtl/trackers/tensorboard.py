"""Figures for TensorBoard."""

from collections.abc import Mapping

from coral_mtl.errors import MissingExtraError
from coral_mtl.trackers.tracker import TrackedRun


class TensorBoard:
    """Writes event files into `tensorboard/` of the run's folder, where `tensorboard --logdir runs` finds them."""

    def __init__(self, run: TrackedRun) -> None:
        """Open the files of a run; of one that is resumed, what was written after its checkpoint is withdrawn.

        Raises:
            MissingExtraError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
        except ImportError as problem:
            raise MissingExtraError("TensorBoard", "tensorboard", "tensorboard") from problem
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.step + 1 if run.step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar for each figure."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        """Flush and close the files, which have no place for how a run ended."""
        self._writer.close()
