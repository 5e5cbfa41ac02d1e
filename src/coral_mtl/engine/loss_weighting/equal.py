"""Equal weighting: the plain sum or mean of the losses."""

from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.observation import Needs, Observation, Promises
from coral_mtl.engine.strategy import LossWeighting


@registry.strategies.register
class Equal(LossWeighting):
    """The plain sum (or mean) of the losses, the baseline of every comparison.

    w_t = 1 (or 1/T, with T the number of tasks in this step). The task with the largest gradient decides the direction.
    """

    needs = Needs.NOTHING
    convention = "sum"
    steady = "always"

    def __init__(self, *, reduction: Literal["sum", "mean"] = "sum") -> None:
        """Choose the convention.

        Args:
            reduction: `sum` gives each task the weight 1, `mean` the weight 1/T, which divides the effective learning
                rate by the number of tasks (default sum).
        """
        self.reduction = reduction

    @property
    def promises(self) -> Promises:
        return Promises(simplex=self.reduction == "mean", descends_mean=True)

    def weigh(self, observation: Observation) -> np.ndarray:
        count = len(observation.tasks)
        return np.full(count, 1.0 if self.reduction == "sum" else 1.0 / count)
