"""One loss term per task, by the kind of the task, and a price on tasks that contradict each other."""

from collections.abc import Mapping
from typing import Any

import torch

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import element_losses, labelled, prediction_of, require_kind
from coral_mtl.losses.segmentation.consistency import Consistency
from coral_mtl.losses.segmentation.hybrid import HybridLoss
from coral_mtl.options import NonNegative, ProperFraction


@registry.losses.register
class CompositeHierarchical(HybridLoss):
    """One term per task: HybridLoss (segmentation), mean cross-entropy (classification) or squared error (regression).

    `w_consistency` adds to each segmentation task its share of the price on contradictions between tasks (see
    Consistency): part of what the task wants, whatever weight a strategy gives it. It is no term of its own, because a
    strategy would bargain with it as with a task, and because it would make every head a shared parameter.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        w_consistency: NonNegative = 0.0,
        label_smoothing: ProperFraction = 0.0,
        **hybrid: Any,
    ) -> None:
        """Create one term for each of `tasks`; for segmentation tasks also with the options of HybridLoss.

        Args:
            w_consistency: price of a contradiction between two tasks that is certain (default 0.0).
            label_smoothing: share e of a label that is spread evenly over all classes, target (1-e) onehot + e/C; for
                classification tasks (default 0.0).
        """
        require_kind("CompositeHierarchical", tasks, "segmentation", "classification", "regression")
        segmentations = {name: task for name, task in tasks.items() if task.kind == "segmentation"}
        super().__init__(segmentations, **hybrid)
        self.tasks = dict(tasks)
        self.label_smoothing = label_smoothing
        self.w_consistency = w_consistency
        self.consistency = Consistency(segmentations)

    def unused_options(self) -> dict[str, str]:
        unused = super().unused_options()
        if not self.consistency.tables:
            unused["w_consistency"] = "no two tasks of this data set can contradict each other"
        if not any(task.kind == "classification" for task in self.tasks.values()):
            unused["label_smoothing"] = "no task of this data set is a classification"
        return unused

    def __call__(
        self, predictions: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the scalar terms of the tasks that this batch has targets for.

        A batch in which no element of a task has a label gives that task the loss 0 with a gradient of 0. Raise
        DataError where a prediction is missing or of the wrong shape.
        """
        segmented = self._segmented(predictions, targets)
        return {
            task: segmented[task] if task in segmented else self._mean(task, prediction_of(task, predictions), target)
            for task, target in ((task, targets[task]) for task in self.tasks if task in targets)
        }

    def _segmented(
        self, predictions: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        pixels = self.segmentation.pixels(predictions, targets)
        losses = self.segmentation.losses(pixels)
        shares = self.consistency.shares(pixels) if self.w_consistency else {}
        return losses | {task: losses[task] + self.w_consistency * share for task, share in shares.items()}

    def _mean(self, task: str, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        spec = self.tasks[task]
        losses = element_losses(spec, prediction, target, label_smoothing=self.label_smoothing)
        return losses.sum() / labelled(spec, target).sum().clamp(min=1)
