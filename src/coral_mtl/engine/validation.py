"""The metrics of a model on validation data."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from coral_mtl.engine.batches import Batch
from coral_mtl.engine.precision import Precision
from coral_mtl.inference import Inference
from coral_mtl.metrics import Metrics


@torch.no_grad()
def validate(
    model: nn.Module,
    batches: Iterable[Batch],
    metrics: Metrics,
    *,
    precision: Precision,
    inference: Inference,
    after_batch: Callable[[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]], None] = lambda *batch: None,
) -> dict[str, float]:
    """Return the metrics over all batches; the model is left in evaluation mode, and nothing else changes.

    `after_batch` is told of the inputs, predictions and targets of each batch; it may raise, to stop.
    """
    model.eval()
    metrics.reset()
    for inputs, targets in batches:
        with precision.autocast():
            predictions = inference(model, inputs)
        metrics.update(predictions, targets)
        after_batch(inputs, predictions, targets)
    return metrics.compute()
