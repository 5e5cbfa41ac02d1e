"""What one optimiser step is done with, and the rules that hold however its gradients are computed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.arriving import Arriving
from coral_mtl.engine.graph import behind, leaves_among
from coral_mtl.engine.observation import Decision, Observation
from coral_mtl.engine.predictions import Predictions, prediction_squares
from coral_mtl.engine.rows import Row, add_to_grad, all_finite, entries
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.step import Space, Step, reasons
from coral_mtl.engine.strategy import Strategy
from coral_mtl.engine.terms import Term
from coral_mtl.errors import StrategyError, TrainingError

Specific = Literal["plain", "weighted"]
NonFinite = Literal["skip", "raise", "drop"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The strategy, the parameters' owners, and the policies of one step.

    scale: factor of a GradScaler on every gradient; 1 without one.
    step: number of optimiser steps decided before.
    waits: whether a step ends when its gradient is known to be finite; else it is left to the GPU to make one that is
        not harmless.
    row_type: the type in which rows are held between a task's backward pass and the combination; None: their own.
    prediction_squares: |dl_t/dP|^2 at the predictions by task, added up over the micro-batches so far; None where this
        step's decision does not look at them.
    """

    strategy: Strategy
    sharing: Sharing
    specific: Specific
    nonfinite: NonFinite
    scale: float | Tensor
    step: int
    waits: bool = True
    row_type: torch.dtype | None = None
    prediction_squares: dict[str, float] | None = None

    def look_at_predictions(self, terms: Sequence[Term], predictions: Predictions | None) -> None:
        """Add one micro-batch to the squares at the predictions, where this step's decision looks at them."""
        total = self.prediction_squares
        if total is not None:
            for task, square in prediction_squares(terms, predictions, self.scale).items():
                total[task] = total.get(task, 0.0) + square

    def prediction_norms(self, tasks: Sequence[str]) -> np.ndarray | None:
        """(T,) norms of the gradients at the predictions, where they are looked at; 0 for a constant loss."""
        if self.prediction_squares is None:
            return None
        return np.sqrt([self.prediction_squares.get(task, 0.0) for task in tasks])

    def refused_at_predictions(self) -> dict[str, str]:
        """The tasks whose gradient at the predictions is not finite."""
        squares = self.prediction_squares or {}
        return {task: "non-finite gradient" for task, square in squares.items() if not np.isfinite(square)}

    @property
    def scaled(self) -> bool:
        """Whether a GradScaler is at work."""
        return isinstance(self.scale, Tensor)

    def require_batches(self, given: int) -> None:
        """Raise StrategyError unless at least as many micro-batches were given as the strategy needs batches."""
        needed = self.strategy.batches
        if given < needed:
            raise StrategyError(
                f"{type(self.strategy).__name__} needs {needed} independent batches a step and was given {given}\n"
                f"    call backward(losses, accumulate=True) for all but the last of {needed} micro-batches"
            )

    def decide(self, observation: Observation) -> tuple[Decision, float]:
        """Ask the strategy, and tell the seconds it took.

        Raises:
            StrategyError: it answers with something that is not a finite number per task.
        """
        started = time.perf_counter()
        decision = self.strategy.decide(observation)
        coefficients = decision.coefficients
        if coefficients.shape != (len(observation.tasks),) or not np.isfinite(coefficients).all():
            raise StrategyError(
                f"{type(self.strategy).__name__} returned the coefficients {coefficients} for {observation.tasks}: "
                "one finite number per task is needed"
            )
        return decision, time.perf_counter() - started

    def head_coefficients(self, decision: Decision) -> list[float]:
        """Factors on the gradients of task-specific parameters: loss weights, or the coefficients if asked for."""
        if self.specific == "weighted":
            return decision.coefficients.tolist()
        if decision.head_coefficients is None:
            return [1.0] * len(decision.coefficients)
        return decision.head_coefficients.tolist()

    def must_skip(self, refused: Mapping[str, str], losses: Mapping[str, float]) -> bool:
        """Whether non-finite figures of the tasks `refused` end this step (or else only these tasks are dropped).

        Under a GradScaler a non-finite gradient of a finite loss is an overflow of the scale, and no task's fault.

        Raises:
            TrainingError: under `nonfinite="raise"`, unless it is such an overflow.
        """
        if self.scaled and all(np.isfinite(losses[task]) for task in refused):
            return True
        if self.nonfinite == "raise":
            raise TrainingError(
                "; ".join(f"{reason} of task {task!r}" for task, reason in refused.items())
                + '\n    look at this batch and at the learning rate, or take nonfinite="skip" or "drop"'
            )
        return self.nonfinite == "skip"

    def skip(self, refused: Mapping[str, str], losses: Mapping[str, float]) -> Step:
        """Return the account of a step that changes nothing."""
        return Step(inactive=dict(refused), losses=losses, skipped=reasons(refused))

    def disarm(self, update: Row, losses: Mapping[str, Tensor]) -> Tensor:
        """Make an update harmless where it or a loss is not finite, and return, on the device, whether all were finite.

        It becomes zero; under a GradScaler, NaN, which the scaler takes for the overflow that it is.
        """
        flags = [loss.isfinite() for loss in losses.values()] + ([all_finite(list(update.values()))] if update else [])
        finite = torch.stack([flag.reshape(()).to(flags[0].device, non_blocking=True) for flag in flags]).all()
        harmless = float("nan") if self.scaled else 0.0
        for gradient in update.values():
            entries(gradient).masked_fill_(finite.logical_not().to(gradient.device, non_blocking=True), harmless)
        return finite

    def show_overflow(self, terms: Sequence[Term]) -> None:
        """Make NaN of the gradients of all that `terms` depend on, and of the strategy's own parameters.

        A GradScaler takes that for the overflow that it is and backs off, whichever optimisers the parameters are in.
        """
        reached = leaves_among(behind(terms)) or self.sharing.trainable()
        add_to_grad({p: torch.full_like(p, float("nan")) for p in (*reached, *self.strategy.parameters())})

    def add_parameter_gradients(self, observation: Observation) -> None:
        """Fill `.grad` of the strategy's own learned parameters."""
        for parameter, gradient in self.strategy.parameter_gradients(observation):
            scale = self.scale.to(gradient.device) if isinstance(self.scale, Tensor) else self.scale
            add_to_grad({parameter: gradient * scale})


def account(
    observation: Observation,
    decision: Decision,
    losses: Mapping[str, float],
    refused: Mapping[str, str],
    seconds: float,
    *,
    extended_gram: np.ndarray | None = None,
    space: Space = "parameters",
    finite: Arriving | None = None,
) -> Step:
    """Put the figures of a step together; a task with an exactly zero shared gradient is listed as inactive.

    Args:
        observation: what was decided on.
        decision: what was decided.
        losses: the losses of all tasks that are present.
        refused: tasks that were left out, with the reason.
        seconds: how long the strategy took.
        extended_gram: the Gram matrix with the direction in its last row, where that is no combination of gradients.
        space: where gradients were measured.
        finite: on its way, whether everything was finite, where nobody waited for that.
    """
    tasks, gram = observation.tasks, observation.gram
    active = list(range(len(tasks))) if gram is None else np.flatnonzero(observation.norms).tolist()
    names = tuple(tasks[i] for i in active)
    coefficients = decision.coefficients
    descent: dict[str, float] = {}
    update_norm = None
    if gram is not None:
        inner, square = gram @ coefficients, coefficients @ gram @ coefficients
        if extended_gram is not None:
            inner, square = extended_gram[-1, :-1], extended_gram[-1, -1]
            coefficients = np.linalg.lstsq(gram, inner, rcond=None)[0]
        descent = dict(zip(names, inner[active].tolist(), strict=True))
        update_norm = float(np.sqrt(max(square, 0.0)))
    heads = decision.head_coefficients
    return Step(
        tasks=names,
        inactive=dict(refused) | {task: "zero gradient" for task in tasks if task not in names},
        losses=losses,
        weights=dict(zip(names, coefficients[active].tolist(), strict=True)),
        head_weights=dict.fromkeys(tasks, 1.0) if heads is None else dict(zip(tasks, heads.tolist(), strict=True)),
        gram=None if gram is None else gram[np.ix_(active, active)],
        descent=descent,
        update_norm=update_norm,
        space=space,
        refreshed=decision.refreshed,
        solution=decision.solution,
        solver_seconds=seconds,
        records=decision.records,
        finite=finite,
    )


def add_losses(total: dict[str, Tensor], terms: Sequence[Term]) -> None:
    """Add the losses of one micro-batch to those of the micro-batches before it."""
    for term in terms:
        total[term.name] = total[term.name].double() + term.value if term.name in total else term.value
