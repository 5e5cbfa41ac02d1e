"""What GradNorm and GradientNormalised share: weights that follow gradient norms, looked at once in a while."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.strategy import LossWeighting, State


class NormWeighting(LossWeighting):
    """A loss weighting that needs the Gram matrix at one step in `update_frequency`.

    At those steps `weigh` returns the weights, and keeps by task name those of the steps up to the next one. A task
    without a kept weight forces a refresh.
    """

    needs = Needs.GRAM

    def __init__(self, *, update_frequency: int) -> None:
        self.update_frequency = update_frequency
        self._steps = 0
        self._kept: dict[str, float] = {}

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return self.needs if self._due(tasks) else Needs.NOTHING

    def decide(self, observation: Observation) -> Decision:
        due = self._due(observation.tasks)
        weights = self.weigh(observation) if due else self._recall(observation.tasks)
        self._steps += 1
        return Decision(weights, head_coefficients=weights, records=self.records(observation), refreshed=due)

    def reset(self) -> None:
        super().reset()
        self._steps = 0
        self._kept = {}

    def state_dict(self) -> State:
        return super().state_dict() | {"steps": self._steps, "kept": dict(self._kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._steps = state["steps"]
        self._kept = dict(state["kept"])

    def _due(self, tasks: Sequence[str]) -> bool:
        return self._steps % self.update_frequency == 0 or any(task not in self._kept for task in tasks)

    def _keep(self, tasks: Sequence[str], weights: np.ndarray) -> None:
        self._kept |= dict(zip(tasks, weights.tolist(), strict=True))

    def _recall(self, tasks: Sequence[str]) -> np.ndarray:
        return np.array([self._kept[task] for task in tasks])
