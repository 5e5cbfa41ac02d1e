"""What one call of `Engine.backward` did, as plain figures: the source of every diagnostic."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from coral_mtl.engine.solvers.solution import Solution

Space = Literal["parameters", "features"]


@dataclass(frozen=True, slots=True)
class Step:
    """The account of one optimiser step (or of one micro-batch, where `accumulating` is true and nothing was decided).

    tasks: names of the active tasks, in the order of `gram`.
    inactive: names of the tasks left out of the problem, each with the reason.
    losses: unweighted loss of each task that is present.
    weights: effective coefficient c_t of each active task on its raw shared gradient, d = sum_t c_t g_t.
    head_weights: factor on the task-specific gradient of each present task.
    gram: (T, T) inner products of the raw shared gradients, None where they were not measured at this step.
    descent: <g_t, d> by task, negative where this step hurts task t; empty where nothing was measured.
    update_norm: |d| on the shared parameters, None where nothing was measured.
    space: whether the inner products are of gradients with respect to the shared parameters or to shared features.
    refreshed: whether the strategy solved for new coefficients (False: cached ones were reused).
    skipped: None, or why nothing was applied.
    solution: the solver's outcome where one ran.
    solver_seconds: time spent in the strategy.
    records: the strategy's own figures.
    """

    tasks: tuple[str, ...] = ()
    inactive: dict[str, str] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
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
