"""Static weighting: weights by task name, fixed or following a schedule."""

from collections.abc import Sequence

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_known_tasks, require_same_tasks
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Curve, Horizon, NonNegativeSchedule, bounded_curve


@registry.strategies.register
class Static(LossWeighting):
    """Weights on the losses that look at nothing but the step, d = sum_t w_t(step) g_t.

    A task that is absent from a batch leaves the other weights as they are. Where a weight is 0, nothing is
    differentiated for its task.
    """

    needs = Needs.NOTHING
    convention = "sum"
    steady = "always"

    def __init__(self, *, weights: dict[str, NonNegativeSchedule]) -> None:
        """Set the weights.

        Args:
            weights: weight of each task's loss, by task name, a number or a schedule such as
                `{cosine: {start: 0.9, end: 0.2}}`; every task of the run must be named.

        Raises:
            StrategyError: all weights are 0 throughout.
        """
        if weights and all(weight == 0 for weight in weights.values()):
            raise StrategyError(
                "Static: all weights are 0, so that there is nothing to train\n    give a task a weight above 0",
                option="weights",
            )
        self.weights = weights
        self._curves: dict[str, Curve] = {}

    def bind(self, tasks: Sequence[str]) -> None:
        require_same_tasks("Static: weights", self.weights, tasks)

    def begin(self, run: Horizon) -> None:
        """Raise ConfigError where a schedule does not fit the run, or falls below 0."""
        curves = {task: bounded_curve(f"Static: weights.{task}", weight, run) for task, weight in self.weights.items()}
        self._curves = curves

    def idle_tasks(self, step: int) -> frozenset[str]:
        return frozenset(task for task in self.weights if self._weight(task, step) == 0.0)

    def weigh(self, observation: Observation) -> np.ndarray:
        require_known_tasks("Static: weights", self.weights, observation.tasks)
        return np.array([self._weight(task, observation.step) for task in observation.tasks], dtype=np.float64)

    def _weight(self, task: str, step: int) -> float:
        weight = self.weights[task]
        if isinstance(weight, int | float):
            return weight
        if not self._curves:
            raise StrategyError(
                f"Static: the weight of {task!r} follows a schedule, and the length of the run is not known\n"
                "    tell the engine: Engine(..., run=Horizon(steps=..., steps_per_epoch=...))"
            )
        return self._curves[task](step)
