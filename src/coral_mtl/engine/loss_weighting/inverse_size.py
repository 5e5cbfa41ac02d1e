"""What ValueNormalised and GradientNormalised share: weights inverse to a running size of each task."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from coral_mtl.engine.strategy import State

Reference = Literal["one", "geometric_mean"]


class InverseSizes:
    """w_t = min(reference / size_t, max_weight), with size_t a bias-corrected exponential moving average.

    m <- beta m + (1 - beta) x, size = m / (1 - beta^k) after k figures; a task that is absent keeps its average. With
    `logarithmic` the figures are averaged in the log. The reference is 1 or the geometric mean of the nonzero sizes
    present.
    """

    def __init__(self, *, beta: float, reference: Reference, max_weight: float, logarithmic: bool) -> None:
        self._beta = beta
        self._reference = reference
        self._max_weight = max_weight
        self._logarithmic = logarithmic
        self.reset()

    def update(self, tasks: Sequence[str], figures: np.ndarray) -> None:
        """Take in one figure per task; where figures are averaged in the log, zeros are left out."""
        for task, figure in zip(tasks, figures.tolist(), strict=True):
            if figure > 0.0 or not self._logarithmic:
                value = float(np.log(figure)) if self._logarithmic else figure
                self._averages[task] = self._beta * self._averages.get(task, 0.0) + (1.0 - self._beta) * value
                self._counts[task] = self._counts.get(task, 0) + 1

    def weights(self, tasks: Sequence[str]) -> np.ndarray:
        """(T,) weights; 1 for a task that never had a figure."""
        known = [task for task in tasks if task in self._averages]
        sizes = np.array([self._size(task) for task in known])
        level = self._level(sizes[sizes > 0])
        weights = level / np.maximum(sizes, level / self._max_weight)
        by_name = dict(zip(known, weights.tolist(), strict=True))
        return np.array([by_name.get(task, 1.0) for task in tasks])

    def reset(self) -> None:
        """Forget all figures."""
        self._averages: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def state_dict(self) -> State:
        """Averages and counts, by task name."""
        return {"averages": dict(self._averages), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._averages = dict(state["averages"])
        self._counts = dict(state["counts"])

    def _level(self, sizes: np.ndarray) -> float:
        return float(np.exp(np.mean(np.log(sizes)))) if self._reference == "geometric_mean" and sizes.size else 1.0

    def _size(self, task: str) -> float:
        average = self._averages[task] / (1.0 - self._beta ** self._counts[task])
        return float(np.exp(average)) if self._logarithmic else average
