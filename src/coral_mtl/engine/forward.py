"""A micro-batch through the model and the objective, to its losses."""

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from coral_mtl.engine.batches import MicroBatch
from coral_mtl.engine.precision import Precision
from coral_mtl.engine.saved import SavedBytes
from coral_mtl.engine.step import Space
from coral_mtl.errors import ConfigError
from coral_mtl.losses.objective import Objective

Seen = dict[str, Any]


class Forward:
    """The forward pass of training, in the precision of the run."""

    def __init__(self, model: nn.Module, objective: Objective, precision: Precision, gram_on: Space) -> None:
        """Put the parts together; raise ConfigError where gradients of features are wanted and the model shows none."""
        if gram_on == "features" and not (hasattr(model, "represent") and hasattr(model, "predict")):
            raise ConfigError(
                f"{type(model).__name__} does not show its shared features, which gram_on: features needs\n"
                "    give it the methods represent(inputs) and predict(features), or take gram_on: parameters",
                option="gram_on",
            )
        self._model = model
        self._objective = objective
        self._precision = precision
        self._by_features = gram_on == "features"
        self.saved_bytes: int | None = None
        """What the first forward pass kept for its backward pass."""

    def __call__(self, part: MicroBatch, step: int, without: Collection[str]) -> tuple[dict[str, Tensor], Seen]:
        """Return the losses of an optimiser step times the part's share, and what the engine may look at besides.

        Losses named in `without` are not computed.
        """
        if self.saved_bytes is None:
            with SavedBytes(self._model) as saved:
                found = self._run(part, step, without)
            self.saved_bytes = saved.total
            return found
        return self._run(part, step, without)

    def _run(self, part: MicroBatch, step: int, without: Collection[str]) -> tuple[dict[str, Tensor], Seen]:
        features = None
        with self._precision.autocast():
            if self._by_features:
                features = self._model.represent(part.inputs)  # type: ignore[operator]
                predictions = self._model.predict(features)  # type: ignore[operator]
            else:
                predictions = self._model(part.inputs)
            losses = self._objective(predictions, part.targets, step, without)
        shares = {name: loss * part.share for name, loss in losses.items()}
        return shares, {"features": features, "predictions": predictions}

    @torch.no_grad()
    def total(self, window: Iterable[MicroBatch], step: int, without: Collection[str]) -> dict[str, Tensor]:
        """Return the losses of a whole optimiser step's samples, without gradients."""
        parts = [self(part, step, without)[0] for part in window]
        names = dict.fromkeys(name for losses in parts for name in losses)
        return {name: torch.stack([losses[name] for losses in parts if name in losses]).sum() for name in names}
