"""Dynamic weight average: a task whose loss falls slowly gets more weight."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class DWA(LossWeighting):
    """Weights from how fast each loss fell over the last two periods (epochs, or windows of steps).

    w_t = T softmax_t(r_t / temperature), r_t = m_t(-1) / m_t(-2), with m_t(-k) the mean of loss t over the k-th last
    complete period and T the number of tasks that have two of them; w_t = 1 for the others. A task that is absent from
    a whole period keeps its means. Where m_t(-2) is 0 no rate exists and r_t = 1. Negative losses are a StrategyError.

    Without `window` the periods end when the training loop calls `engine.end_epoch()`.
    """

    convention = "sum"
    paper = "Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention (CVPR 2019), equation 7"

    def __init__(self, *, temperature: Positive = 2.0, window: PositiveInt | None = None) -> None:
        """Set the softness and the period.

        Args:
            temperature: a large one makes the weights equal (default 2).
            window: length of a period in optimiser steps (default: an epoch).
        """
        self.temperature = temperature
        self.window = window
        self.reset()

    def weigh(self, observation: Observation) -> np.ndarray:
        weights = self._weights(observation.tasks)
        self._add(observation.tasks, require_nonnegative("DWA", observation))
        if self._steps == self.window:
            self._close_period()
        return weights

    def end_epoch(self) -> None:
        if self.window is None:
            self._close_period()

    def reset(self) -> None:
        self._steps = 0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._means: dict[str, list[float]] = {}

    def state_dict(self) -> State:
        return {
            "steps": self._steps,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "means": {task: list(means) for task, means in self._means.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        self._sums = dict(state["sums"])
        self._counts = dict(state["counts"])
        self._means = {task: list(means) for task, means in state["means"].items()}

    def _weights(self, tasks: Sequence[str]) -> np.ndarray:
        rates = {t: means[1] / means[0] if means[0] else 1.0 for t, means in self._means.items() if len(means) == 2}
        if not rates:
            return np.ones(len(tasks))
        shares = len(rates) * softmax(np.array(list(rates.values())) / self.temperature)
        weights = dict(zip(rates, shares.tolist(), strict=True))
        return np.array([weights.get(task, 1.0) for task in tasks])

    def _add(self, tasks: Sequence[str], losses: np.ndarray) -> None:
        self._steps += 1
        for task, loss in zip(tasks, losses.tolist(), strict=True):
            self._sums[task] = self._sums.get(task, 0.0) + loss
            self._counts[task] = self._counts.get(task, 0) + 1

    def _close_period(self) -> None:
        for task, total in self._sums.items():
            self._means[task] = [*self._means.get(task, []), total / self._counts[task]][-2:]
        self._steps, self._sums, self._counts = 0, {}, {}
