"""Logistic regression: the cross-entropy of values that are shares from 0 to 1."""

from collections.abc import Mapping

from torch import Tensor

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import in_full_precision, prediction_of, require_kind
from coral_mtl.losses.perceptual.judgement import cross_entropy


@registry.losses.register
class LogisticLoss:
    """One term per regression task: the mean over its elements of log(1 + exp(z)) - h z, for logits z and shares h."""

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        require_kind("LogisticLoss", tasks, "regression")
        self.terms = tuple(tasks)

    def __call__(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the scalar terms of the tasks that this batch has targets for.

        Raise DataError where a prediction is missing, or targets are not shares from 0 to 1 in its shape.
        """
        return {
            task: cross_entropy(in_full_precision(prediction_of(task, predictions)), targets[task]).mean()
            for task in self.terms
            if task in targets
        }
