"""What one optimiser step is done with, and the rules that hold however its gradients are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.observation import Decision, Observation
from coral_mtl.engine.rows import Row, add_to_grad, is_finite
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.step import Space, Step
from coral_mtl.engine.strategy import Strategy
from coral_mtl.errors import StrategyError, TrainingError

Specific = Literal["plain", "weighted"]
NonFinite = Literal["skip", "raise", "drop"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The strategy, the parameters' owners, and the policies of one step.

    scale: factor of a GradScaler on every gradient (1 without one); `host_scale` is the same as a number.
    step: number of optimiser steps decided before.
    row_type: the type in which rows are held between a task's backward pass and the combination; None: their own.
    """

    strategy: Strategy
    sharing: Sharing
    specific: Specific
    nonfinite: NonFinite
    scale: float | Tensor
    host_scale: float
    scaled: bool
    step: int
    row_type: torch.dtype | None = None

    def decide(self, observation: Observation) -> Decision:
        """Ask the strategy; raise StrategyError if it answers with something that is not a finite number per task."""
        decision = self.strategy.decide(observation)
        coefficients = decision.coefficients
        if coefficients.shape != (len(observation.tasks),) or not np.isfinite(coefficients).all():
            raise StrategyError(
                f"{type(self.strategy).__name__} returned the coefficients {coefficients} for {observation.tasks}: "
                "one finite number per task is needed"
            )
        return decision

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

    def skip(self, refused: Mapping[str, str], losses: dict[str, float]) -> Step:
        """Return the account of a step that changes nothing; show a GradScaler the overflow, so that it backs off."""
        reason = "; ".join(f"{why} of task {task!r}" for task, why in refused.items()) or "no task has a gradient"
        if self.scaled:
            self._show_overflow()
        return Step(inactive=dict(refused), losses=losses, skipped=reason)

    def _show_overflow(self) -> None:
        parameters = self.sharing.trainable()
        if parameters:
            add_to_grad({parameters[0]: torch.full_like(parameters[0], float("nan"))})

    def add_parameter_gradients(self, observation: Observation) -> None:
        """Fill `.grad` of the strategy's own learned parameters."""
        gradients = self.strategy.parameter_gradients(observation)
        add_to_grad({parameter: gradient * self.host_scale for parameter, gradient in gradients})


def refused_tasks(
    tasks: Sequence[str], rows: Sequence[Row], losses: Mapping[str, float], shared: set[Tensor], gram: np.ndarray
) -> dict[str, str]:
    """Return the tasks whose loss, shared gradient (seen by its square in `gram`) or own gradient is not finite."""
    refused = {}
    for task, row, square in zip(tasks, rows, np.diag(gram), strict=True):
        own = {parameter: gradient for parameter, gradient in row.items() if parameter not in shared}
        if not np.isfinite(losses[task]):
            refused[task] = "non-finite loss"
        elif not np.isfinite(square) or not is_finite(own):
            refused[task] = "non-finite gradient"
    return refused


def account(
    observation: Observation,
    decision: Decision,
    losses: dict[str, float],
    refused: Mapping[str, str],
    seconds: float,
    *,
    extended_gram: np.ndarray | None = None,
    space: Space = "parameters",
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
    """
    tasks, gram = observation.tasks, observation.gram
    active = np.arange(len(tasks)) if gram is None else np.flatnonzero(observation.norms)
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
    )


def host_values(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Bring scalars to the host in one copy."""
    if not values:
        return {}
    stacked = torch.stack([value.reshape(()) for value in values.values()]).double()
    return dict(zip(values, stacked.tolist(), strict=True))
