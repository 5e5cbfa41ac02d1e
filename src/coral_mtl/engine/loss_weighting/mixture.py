"""One share between a term and the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_known_tasks
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Curve, Horizon, NonNegativeSchedule, bounded_curve


@registry.strategies.register
class Mixture(LossWeighting):
    """alpha times one loss and 1 - alpha times the other, or times the mean of the others; alpha is from 0 to 1.

    A task that is absent from a batch leaves the other weights as they are. A loss of weight 0 is not evaluated.
    """

    needs = Needs.NOTHING
    convention = "mean"
    steady = "always"

    def __init__(self, *, term: str, alpha: NonNegativeSchedule = 0.5) -> None:
        """Set the share.

        Args:
            term: the loss that alpha is the weight of.
            alpha: its weight, from 0 to 1, a number or a schedule such as `{cosine: {start: 0.9, end: 0.2}}`
                (default 0.5).

        Raises:
            StrategyError: a number above 1.
        """
        if isinstance(alpha, int | float) and alpha > 1.0:
            raise StrategyError(f"Mixture: alpha is {alpha:g}: 1 - alpha would be negative", option="alpha")
        self.term = term
        self.alpha = alpha
        self._curve: Curve | None = None
        self._tasks: tuple[str, ...] = ()

    def bind(self, tasks: Sequence[str]) -> None:
        require_known_tasks("Mixture: tasks of this run", tasks, (self.term,))
        self._tasks = tuple(tasks)

    def begin(self, run: Horizon) -> None:
        """Raise ConfigError where alpha does not fit the run, or leaves 0 to 1."""
        self._curve = bounded_curve("Mixture: alpha", self.alpha, run, at_most=1.0)

    def idle_tasks(self, step: int) -> frozenset[str]:
        return frozenset(task for task, weight in self._weights(self._tasks, step).items() if weight == 0.0)

    def weigh(self, observation: Observation) -> np.ndarray:
        weights = self._weights(self._tasks or observation.tasks, observation.step)
        require_known_tasks("Mixture: tasks of this run", weights, observation.tasks)
        return np.array([weights[task] for task in observation.tasks])

    def state_dict(self) -> State:
        return {"tasks": list(self._tasks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tasks = tuple(state["tasks"])

    def _weights(self, tasks: Sequence[str], step: int) -> dict[str, float]:
        alpha, others = self._share(step), max(1, len(tasks) - 1)
        return {task: alpha if task == self.term else (1.0 - alpha) / others for task in tasks}

    def _share(self, step: int) -> float:
        if self._curve is not None:
            return self._curve(step)
        if isinstance(self.alpha, int | float):
            return float(self.alpha)
        raise StrategyError(
            "Mixture: alpha follows a schedule, and the length of the run is not known\n"
            "    tell the engine: Engine(..., run=Horizon(steps=..., steps_per_epoch=...))"
        )
