"""What one call of `Engine.backward` did, as plain figures: the source of every diagnostic."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from coral_mtl.engine.arriving import Arriving
from coral_mtl.engine.solvers.solution import Solution

WEIGHTLESS = "weight 0"
"""The reason for leaving out a task that a weighting gives no weight at this step."""

Space = Literal["parameters", "features"]


@dataclass(frozen=True, slots=True)
class Step:
    """The account of one optimiser step (or of one micro-batch, where `accumulating` is true and nothing was decided).

    tasks: names of the active tasks, in the order of `gram`.
    inactive: names of the tasks left out of the problem, each with the reason.
    losses: unweighted loss of each task that is present; on a GPU, a first look at one may wait for the forward pass.
    weights: effective coefficient c_t of each active task on its raw shared gradient, d = sum_t c_t g_t.
    head_weights: factor on the task-specific gradient of each present task.
    gram: (T, T) inner products of the raw shared gradients, None where they were not measured at this step.
    descent: <g_t, d> by task, negative where this step hurts task t; empty where nothing was measured.
    update_norm: |d| on the shared parameters, None where nothing was measured.
    space: whether the inner products are of gradients with respect to the shared parameters or to shared features.
    refreshed: whether the strategy solved for new coefficients (False: cached ones were reused).
    skipped: None, or why nothing was applied.
    finite: figures on their way from a GPU, the last of which tells whether losses and gradient were finite, where the
        step did not wait for that (see `settled`); else None.
    solution: the solver's outcome where one ran.
    solver_seconds: time spent in the strategy.
    records: the strategy's own figures.
    """

    tasks: tuple[str, ...] = ()
    inactive: dict[str, str] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    head_weights: dict[str, float] = field(default_factory=dict)
    gram: np.ndarray | None = None
    descent: dict[str, float] = field(default_factory=dict)
    update_norm: float | None = None
    space: Space = "parameters"
    refreshed: bool = False
    skipped: str | None = None
    accumulating: bool = False
    solution: Solution | None = None
    solver_seconds: float = 0.0
    records: dict[str, Any] = field(default_factory=dict)
    finite: Arriving | None = field(default=None, repr=False, compare=False)

    def settled(self) -> Self:
        """Return the account with what the GPU had not told yet, which may take a wait.

        Where a step that did not wait turns out not to have been finite, its gradient was made zero on the GPU, and the
        account is that of a skipped step.
        """
        losses = dict(self.losses)
        if self.finite is None or self.finite.values()[-1]:
            return replace(self, losses=losses, finite=None)
        refused = {task: "non-finite loss" for task, loss in losses.items() if not np.isfinite(loss)}
        refused = refused or dict.fromkeys(self.tasks, "non-finite gradient")
        return type(self)(inactive=self.inactive | refused, losses=losses, skipped=reasons(refused))

    @property
    def norms(self) -> dict[str, float]:
        """|g_t| on the shared parameters, by task; empty where the Gram matrix was not measured."""
        if self.gram is None:
            return {}
        return dict(zip(self.tasks, np.sqrt(np.maximum(np.diag(self.gram), 0.0)).tolist(), strict=True))

    @property
    def cosines(self) -> dict[str, float]:
        """cos(g_a, g_b) by "a_vs_b", each pair once, in task order."""
        if self.gram is None:
            return {}
        norms = np.sqrt(np.maximum(np.diag(self.gram), 0.0))
        return {
            f"{a}_vs_{b}": float(np.clip(self.gram[i, j] / (norms[i] * norms[j]), -1.0, 1.0))
            for i, a in enumerate(self.tasks)
            for j, b in enumerate(self.tasks)
            if i < j
        }


def reasons(refused: Mapping[str, str]) -> str:
    """Why a step is skipped, from the reason for each task that was refused."""
    return "; ".join(f"{why} of task {task!r}" for task, why in refused.items()) or "no task has a gradient"
