"""The loss of each labelled element, by the kind of its task: what training averages and validation sums up."""

from collections.abc import Collection, Mapping

import torch
from torch.nn import functional

from coral_mtl.data.tasks import TaskKind, TaskSpec
from coral_mtl.errors import ConfigError, DataError

_LEAST_DOUBT = 1e-12


def element_losses(
    task: TaskSpec, prediction: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross-entropy -log softmax(z)_y or squared error (z - y)^2 of each element, shaped like `target`.

    Elements without a label have loss 0. Half precisions are computed in float32. Raise DataError where the shapes of
    prediction and target do not fit (see TaskSpec).
    """
    check_shapes(task, prediction, target)
    prediction = in_full_precision(prediction)
    if task.kind == "regression":
        return functional.mse_loss(prediction, target.to(prediction.dtype), reduction="none")
    return functional.cross_entropy(
        prediction, target, reduction="none", ignore_index=task.ignore_index, label_smoothing=label_smoothing
    )


def labelled(task: TaskSpec, target: torch.Tensor, ignored: Collection[int] = ()) -> torch.Tensor:
    """Return a mask shaped like `target`: which elements have a label, and one that is not among the `ignored` ones."""
    if task.kind == "regression":
        return torch.ones_like(target, dtype=torch.bool)
    mask = target != task.ignore_index
    for index in ignored:
        mask = mask & (target != index)
    return mask


def power_of_doubt(doubt: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return (1 - p)^gamma, the focal loss's factor, from doubt = 1 - p with the label's probability p.

    Doubts below 1e-12 are taken for it: powers below 1 have an infinite slope at 0.
    """
    return doubt.clamp(min=_LEAST_DOUBT) ** gamma


def in_full_precision(prediction: torch.Tensor) -> torch.Tensor:
    """Return float32 for half precisions, and what is float32 or float64 as it is."""
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32))


def check_shapes(task: TaskSpec, prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Raise DataError where the shapes of prediction and target do not fit (see TaskSpec)."""
    batch, *cells = target.shape
    expected = (batch, task.size, *(cells[1:] if task.kind == "regression" else cells))
    misshapen = {"regression": target.shape != expected, "segmentation": target.ndim != 3, "classification": False}
    if prediction.shape != expected or misshapen[task.kind]:
        raise DataError(
            f"a {task.kind} target of shape {tuple(target.shape)} and a prediction of shape {tuple(prediction.shape)} "
            f"do not fit a task of size {task.size}"
        )


def prediction_of(task: str, predictions: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the model's prediction for a task; raise DataError where there is none."""
    if task not in predictions:
        raise DataError(f"the model predicts {', '.join(predictions)} and nothing for the task {task!r}")
    return predictions[task]


def require_kind(loss: str, tasks: Mapping[str, TaskSpec], *kinds: TaskKind) -> None:
    """Raise ConfigError where a task is of none of the kinds that `loss` is for."""
    others = {f"{task} is a {spec.kind}" for task, spec in tasks.items() if spec.kind not in kinds}
    if others:
        raise ConfigError(
            f"{loss} is for tasks of the kind {' or '.join(kinds)}, and {', '.join(sorted(others))}"
            "\n    take the loss that belongs to this data set: HybridPolygonLoss for polygons, JudgementLoss for "
            "judgements, CompositeHierarchical for the others"
        )
