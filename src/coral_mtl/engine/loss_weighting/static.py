"""Static weighting: fixed weights, by task name."""

from collections.abc import Sequence

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_known_tasks, require_same_tasks
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.options import NonNegative


@registry.strategies.register
class Static(LossWeighting):
    """Fixed weights on the losses, d = sum_t w_t g_t.

    A task that is absent from a batch leaves the other weights as they are.
    """

    needs = Needs.NOTHING
    convention = "sum"
    steady = "always"

    def __init__(self, *, weights: dict[str, NonNegative]) -> None:
        """Set the weights.

        Args:
            weights: weight of each task's loss, by task name; every task of the run must be named.
        """
        self.weights = weights

    def bind(self, tasks: Sequence[str]) -> None:
        require_same_tasks("Static: weights", self.weights, tasks)

    def weigh(self, observation: Observation) -> np.ndarray:
        require_known_tasks("Static: weights", self.weights, observation.tasks)
        return np.array([self.weights[task] for task in observation.tasks], dtype=np.float64)
