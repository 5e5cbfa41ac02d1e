"""Weights on the simplex that are carried from step to step by task name, while tasks come and go."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl.engine.solvers.simplex import project_simplex
from coral_mtl.engine.strategy import State


class SimplexWeights:
    """The weights of all tasks seen so far sum to 1; the tasks of a step share what they hold together.

    A task that appears enters with an equal share, which the others yield in proportion.
    """

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}

    def recall(self, tasks: Sequence[str]) -> np.ndarray:
        """(T,) weights of `tasks`, scaled to sum 1; equal ones where they hold nothing."""
        for task in tasks:
            if task not in self._weights:
                count = len(self._weights)
                self._weights = {name: w * count / (count + 1) for name, w in self._weights.items()}
                self._weights[task] = 1.0 / (count + 1)
        held = np.array([self._weights[task] for task in tasks])
        return held / held.sum() if held.sum() > 0.0 else np.full(len(tasks), 1.0 / len(tasks))

    def keep(self, tasks: Sequence[str], weights: np.ndarray) -> None:
        """Distribute what `tasks` hold together anew, in the proportions of `weights`, which sum to 1."""
        held = sum(self._weights[task] for task in tasks)
        self._weights |= dict(zip(tasks, (held * weights).tolist(), strict=True))

    def reset(self) -> None:
        """Forget all weights."""
        self._weights = {}

    def state_dict(self) -> State:
        """The weights by task."""
        return dict(self._weights)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._weights = dict(state)


def nearest_on_simplex(point: np.ndarray) -> np.ndarray:
    """Project on the simplex, exactly also where the point is so far away that 1 vanishes beside its coordinates."""
    return project_simplex(point - point.max())
