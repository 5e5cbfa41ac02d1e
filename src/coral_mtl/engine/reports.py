"""What a trainer tells those who watch it."""

from dataclasses import dataclass, field
from typing import Any

from coral_mtl.engine.step import Step


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimiser step.

    number: optimiser steps of the run so far, this one included.
    micro_step: micro-batches of the run so far.
    epoch: the epoch it belongs to, from 0.
    account: what the engine did.
    lr: learning rate of the step, of the first parameter group.
    clip_factor: what clipping multiplied the gradient by, 1 where it was short enough or is not clipped.
    saved_bytes: what the first forward pass of the run kept for its backward pass; None where nobody measured it.
    restraints: prices of regularisers and violations of constraints after the step, where they were measured.
    """

    number: int
    micro_step: int
    epoch: int
    account: Step
    lr: float
    clip_factor: float
    saved_bytes: int | None = None
    restraints: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """One validation: after which epoch (from 0) and step, the metrics, and whether it is the best so far."""

    epoch: int
    step: int
    metrics: dict[str, float]
    best: bool


class Observer:
    """Watches a trainer; every hook does nothing unless overridden."""

    def on_step(self, report: StepReport) -> None:
        """Told after every optimiser step, skipped ones included."""

    def on_validation(self, report: ValidationReport) -> None:
        """Told after every validation."""

    def on_note(self, note: str) -> None:
        """Told what a controller did, such as the beginning of a stage."""

    def on_save(self) -> None:
        """Told before a checkpoint is written: what was told so far must outlive a crash after it."""
