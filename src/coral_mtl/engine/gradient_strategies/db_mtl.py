"""DB-MTL: losses balanced by their logarithms, gradients by their lengths."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.coordinates import GradientAverages
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, Memory
from coral_mtl.options import NonNegative, PositiveInt, ProperFraction

_EPSILON = 1e-8
"""The paper's, in log(l + epsilon)."""


@registry.strategies.named("DB-MTL")
class DBMTL(GradientStrategy):
    """The sum of the gradients of the log losses, averaged over time and all brought to the length of the longest.

    y_t <- beta_k y_t + (1 - beta_k) grad log(l_t + 1e-8), from 0, beta_k = beta / k^decay at step k;
    d = max_t |y_t| sum_t y_t / |y_t|. The task-specific parameters of task t get the gradient of its log loss too.

    Conflicts stay as they are. With beta > 0 it keeps one copy of the shared parameters per task, and d is no
    combination of this step's gradients: the weights reported are those of the nearest one. With beta = 0 the Gram
    matrix is enough. An absent task keeps its y_t and takes no part. A negative loss is a StrategyError; nothing to
    solve, so it cannot fail otherwise.
    """

    needs = Needs.ROWS
    convention = "own"
    paper = "Lin et al.: Dual-Balancing for Multi-Task Learning (2023), equations 1 and 2, algorithm 1"

    def __init__(
        self, *, beta: ProperFraction = 0.9, decay: NonNegative = 0.0, update_frequency: PositiveInt = 1
    ) -> None:
        """Set how long gradients are remembered.

        Args:
            beta: share of the past in the average; 0 takes each step's gradients as they are (default 0.9).
            decay: exponent of the step number by which beta falls, 0.5 in some of the paper's runs (default 0).
            update_frequency: with beta 0, solve for new coefficients once in this many steps and reuse them in between,
                at the cost of a single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.beta = beta
        self.decay = decay
        if beta == 0.0:
            self.needs = Needs.GRAM
        self._averages = GradientAverages()

    @property
    def promises(self) -> Promises:
        return Promises(scale="per_task", nonnegative=self.beta == 0.0, combination=self.beta == 0.0)

    def unused_options(self) -> dict[str, str]:
        if self.beta > 0.0:
            return {"update_frequency": "with beta > 0 the direction has no coefficients that could be reused"}
        return {"decay": "beta is 0"}

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return max(super().needs_now(tasks), Needs.LOSSES)

    def decide(self, observation: Observation) -> Decision:
        factors = 1.0 / (require_nonnegative("DB-MTL", observation) + _EPSILON)
        return replace(super().decide(observation), head_coefficients=factors)

    def solve(self, observation: Observation) -> Decision:
        factors = 1.0 / (observation.losses + _EPSILON)
        if self.beta == 0.0:
            return Decision(np.max(observation.norms * factors) / observation.norms)
        tasks, rows = observation.tasks, observation.require_rows()
        share = 1.0 - self.beta / (self._steps + 1) ** self.decay
        self._averages.move(tasks, rows, share, factors)
        norms = np.sqrt(np.maximum(self._averages.gram(tasks, rows).diagonal(), 0.0))
        scales = np.divide(norms.max(), norms, out=np.zeros(len(norms)), where=norms > 0.0)
        return Decision(scales * factors, direction=self._averages.combined(tasks, rows, scales))

    def memories(self) -> dict[str, Memory]:
        return {"averages": self._averages}
