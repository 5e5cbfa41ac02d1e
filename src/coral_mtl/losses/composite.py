"""One loss term per task, by the kind of the task."""

from collections.abc import Mapping

import torch

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError
from coral_mtl.losses.elements import element_losses, labelled
from coral_mtl.options import ProperFraction


@registry.losses.register
class CompositeHierarchical:
    """The mean over labelled elements of cross-entropy (classification) or squared error (regression), by task."""

    def __init__(self, tasks: Mapping[str, TaskSpec], *, label_smoothing: ProperFraction = 0.0) -> None:
        """Create one term for each of `tasks`.

        Args:
            label_smoothing: share e of a label that is spread evenly over all classes, target (1-e) onehot + e/C; for
                classification tasks (default 0.0).
        """
        self.tasks = dict(tasks)
        self.label_smoothing = label_smoothing

    def unused_options(self) -> dict[str, str]:
        if any(task.kind == "classification" for task in self.tasks.values()):
            return {}
        return {"label_smoothing": "no task of this data set is a classification"}

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms, in the order of the tasks."""
        return tuple(self.tasks)

    def __call__(
        self, predictions: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the scalar terms of the tasks that this batch has targets for.

        A batch in which no element of a task has a label gives that task the loss 0 with a gradient of 0. Raise
        DataError where a prediction is missing or of the wrong shape.
        """
        return {task: self._term(task, predictions, targets[task]) for task in self.tasks if task in targets}

    def _term(self, task: str, predictions: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        if task not in predictions:
            raise DataError(f"the model predicts {', '.join(predictions)} and nothing for the task {task!r}")
        spec = self.tasks[task]
        losses = element_losses(spec, predictions[task], target, label_smoothing=self.label_smoothing)
        return losses.sum() / labelled(spec, target).sum().clamp(min=1)
