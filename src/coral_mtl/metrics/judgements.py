"""Figures of distances and choices against the votes of judges."""

import math
from typing import ClassVar

import torch

from coral_mtl.losses.elements import in_full_precision
from coral_mtl.losses.perceptual.judgement import cross_entropy, entropy_floor
from coral_mtl.metrics.two_afc import TwoAFC


class JudgementMetrics:
    """`score`, `oracle` and `judge` of the distances (see TwoAFC), and of the logits their mean cross-entropy `loss`.

    `excess` is the loss less the lowest one for these votes. Figures of no triplet are NaN.
    """

    names: ClassVar[tuple[str, ...]] = (*TwoAFC.names, "loss", "excess")
    score: ClassVar[str] = "score"

    def __init__(self) -> None:
        self._choices = TwoAFC()
        self._loss = 0.0
        self._floor = 0.0

    @property
    def count(self) -> int:
        return self._choices.count

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch: (N, 3) distances of both images and logits of the second, and (N,) votes in [0, 1]."""
        first, second, logits = in_full_precision(prediction).unbind(dim=1)
        self._choices.update(first, second, target)
        self._loss += cross_entropy(logits, target).double().sum().item()
        self._floor += entropy_floor(target.double()).sum().item()

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        loss, floor = (total / self.count if self.count else math.nan for total in (self._loss, self._floor))
        return {**self._choices.compute(), "loss": loss, "excess": loss - floor}
