"""Accuracy and cross-entropy over all labelled elements."""

import math
from typing import ClassVar

import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import element_losses, labelled


class ClassificationMetrics:
    """`accuracy`: share of labelled elements whose largest logit is the label's; `loss`: their mean cross-entropy.

    The loss is without label smoothing, so that runs with and without it compare. Figures of no element are NaN,
    and so are all figures where the logits of a labelled element are: the largest of them is none.
    """

    names: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    score: ClassVar[str] = "accuracy"

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self.count = 0
        self._correct = 0
        self._loss = 0.0

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch: logits (N, size, ...) and labels (N, ...)."""
        self._loss += element_losses(self._task, prediction, target).cpu().double().sum().item()
        mask = labelled(self._task, target)
        self.count += int(mask.sum())
        self._correct += int(((prediction.argmax(dim=1) == target) & mask).sum())

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        if self.count == 0:
            return dict.fromkeys(self.names, math.nan)
        loss = self._loss / self.count
        return {"accuracy": math.nan if math.isnan(loss) else self._correct / self.count, "loss": loss}
