"""What every loss of a segmentation starts from: log-probabilities, and which pixels count."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import check_shapes, in_full_precision, labelled


@dataclass(frozen=True, slots=True)
class Pixels:
    """One task's predictions and labels of a batch.

    log_probabilities: (N, C, H, W), log softmax of the logits in float32 or float64.
    of_labels: (N, H, W), those of the pixels' labels.
    target: (N, H, W) class indices; 0 where a pixel does not count.
    counted: (N, H, W), 1 where a pixel counts and 0 where it does not, in the type of the log-probabilities.
    """

    log_probabilities: Tensor
    of_labels: Tensor
    target: Tensor
    counted: Tensor

    def sums_by_class(self, values: Tensor) -> Tensor:
        """Return (C,), the sums of (N, H, W) `values` over the pixels that are labelled with each class."""
        classes = self.log_probabilities.shape[1]
        rows = values.flatten(0, 1)  # summed up row by row: one sum over millions of pixels would lose digits
        places = torch.arange(len(rows), device=rows.device).unsqueeze(1) * classes + self.target.flatten(0, 1)
        sums = rows.new_zeros(len(rows) * classes).index_add(0, places.flatten(), (values * self.counted).flatten())
        return sums.view(-1, classes).sum(dim=0)


def pixels(task: TaskSpec, logits: Tensor, target: Tensor, ignored: Collection[int] = ()) -> Pixels:
    """Return the pixels of `task`, without those that have no label and those of the classes in `ignored`.

    Raises:
        DataError: logits (N, C, H, W) and target (N, H, W) do not fit the task.
    """
    check_shapes(task, logits, target)
    counted = labelled(task, target, ignored)
    log_p = in_full_precision(logits).log_softmax(dim=1)
    known = torch.where(counted, target, 0)
    of_labels = log_p.gather(1, known.unsqueeze(1)).squeeze(1)
    return Pixels(log_p, of_labels, known, counted.to(log_p.dtype))


def mean_over(weights: Tensor, losses: Tensor) -> Tensor:
    """Return sum w l / sum w, and 0 with a gradient of 0 where all weights are 0."""
    total = weights.sum()
    return (weights * losses).sum() / torch.where(total > 0, total, 1.0)
