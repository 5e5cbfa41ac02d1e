"""What a set of metrics is, whoever wrote it."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from coral_mtl.data.tasks import TaskSpec


class Metrics(Protocol):
    """The figures of a validation, as `metrics.type` of a configuration names them (see registry.metrics).

    Built as `cls(tasks, *, options)`. `tasks` are those of the data set, by name; `names` those of the figures, known
    before there are data.
    """

    @property
    def tasks(self) -> Mapping[str, TaskSpec]: ...
    @property
    def names(self) -> tuple[str, ...]: ...

    def reset(self) -> None:
        """Forget everything added so far."""

    def update(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Add a batch: predictions and targets by task."""

    def compute(self) -> dict[str, float]:
        """Return every figure of `names` over everything added so far, NaN where there was nothing to measure."""
