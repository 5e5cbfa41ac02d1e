"""The loss of each labelled element, by the kind of its task: what training averages and validation sums up."""

import torch
from torch.nn import functional

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError


def element_losses(
    task: TaskSpec, prediction: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross-entropy -log softmax(z)_y or squared error (z - y)^2 of each element, shaped like `target`.

    Elements without a label have loss 0. Half precisions are computed in float32. Raise DataError where the shapes of
    prediction and target do not fit (see TaskSpec).
    """
    _check_shapes(task, prediction, target)
    prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    if task.kind == "regression":
        return functional.mse_loss(prediction, target.to(prediction.dtype), reduction="none")
    return functional.cross_entropy(
        prediction, target, reduction="none", ignore_index=task.ignore_index, label_smoothing=label_smoothing
    )


def labelled(task: TaskSpec, target: torch.Tensor) -> torch.Tensor:
    """Return a mask shaped like `target`: which elements have a label."""
    if task.kind == "regression":
        return torch.ones_like(target, dtype=torch.bool)
    return target != task.ignore_index


def _check_shapes(task: TaskSpec, prediction: torch.Tensor, target: torch.Tensor) -> None:
    batch, *cells = target.shape
    expected = (batch, task.size, *(cells if task.kind == "classification" else cells[1:]))
    if prediction.shape != expected or (task.kind == "regression" and target.shape != expected):
        raise DataError(
            f"a {task.kind} target of shape {tuple(target.shape)} and a prediction of shape {tuple(prediction.shape)} "
            f"do not fit a task of size {task.size}"
        )
