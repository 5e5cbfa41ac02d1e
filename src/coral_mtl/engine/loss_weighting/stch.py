"""Smooth Tchebycheff scalarisation (STCH): a soft maximum of the losses."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_known_tasks, require_nonnegative, require_same_tasks
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.options import NonNegative, NonNegativeInt, Positive


@registry.strategies.register
class STCH(LossWeighting):
    """A soft maximum of the losses, or of their logarithmic ratios to a nadir, which favours the worst task.

    On the losses: L = mu log sum_t exp(p_t l_t / mu) with preferences p that sum to 1 (equal: p_t = 1/T), so
    w_t = p_t softmax_t(p l / mu).

    On the ratios, as the authors train networks: L = T mu log sum_t exp(T p_t f_t / mu), f_t = log(l_t / nadir_t), so
    w_t = T (T p_t) softmax_t(T p f / mu) / l_t. A task without a nadir yet has the weight 1/l_t (the warm-up, on
    L = sum log l_t); its nadir is its mean loss over the first epoch after the warm-up. Epochs end when the training
    loop calls `engine.end_epoch()`. Losses below epsilon count as epsilon; negative ones are a StrategyError.
    """

    convention = "own"
    paper = "Lin et al.: Smooth Tchebycheff Scalarization for Multi-Objective Optimization (ICML 2024)"

    def __init__(
        self,
        *,
        mu: Positive = 1.0,
        on: Literal["ratios", "losses"] = "ratios",
        warmup_epochs: NonNegativeInt = 4,
        nadir: dict[str, Positive] | None = None,
        preference: dict[str, NonNegative] | None = None,
        epsilon: Positive = 1e-8,
    ) -> None:
        """Set the softness, the preferences and where the nadir comes from.

        Args:
            mu: smoothing; the smaller, the closer to the maximum (default 1).
            on: `ratios` to the nadir in the log, or the `losses` themselves (default ratios).
            warmup_epochs: epochs on sum log l_t before the epoch that measures the nadir (default 4).
            nadir: loss values to compare with, by task name, in place of measuring them (default: measured).
            preference: importance of each task, by name, normalised to sum 1 (default: equal).
            epsilon: smallest loss value that counts as itself (default 1e-8).
        """
        self.mu = mu
        self.on = on
        self.warmup_epochs = warmup_epochs
        self.nadir = nadir
        self.preference = preference
        self.epsilon = epsilon
        self.reset()

    def unused_options(self) -> dict[str, str]:
        if self.on == "losses":
            reason = "the losses are compared as they are (on: losses)"
            return {"warmup_epochs": reason, "nadir": reason, "epsilon": reason}
        return {"warmup_epochs": "the nadir is given"} if self.nadir is not None else {}

    def bind(self, tasks: Sequence[str]) -> None:
        for what, given in (("nadir", self.nadir), ("preference", self.preference)):
            if given is not None:
                require_same_tasks(f"STCH: {what}", given, tasks)

    def weigh(self, observation: Observation) -> np.ndarray:
        if self.on == "losses":
            shares = self._preferences(observation.tasks)
            return shares * softmax(shares * observation.losses / self.mu)
        losses = np.maximum(require_nonnegative("STCH", observation), self.epsilon)
        self._measure(observation.tasks, losses)
        return self._weights_on_ratios(observation.tasks, losses)

    def reset(self) -> None:
        self._epoch: int = 0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._nadir: dict[str, float] = dict(self.nadir or {})

    def end_epoch(self) -> None:
        self._nadir |= {task: total / self._counts[task] for task, total in self._sums.items()}
        self._epoch, self._sums, self._counts = self._epoch + 1, {}, {}

    def state_dict(self) -> State:
        return {
            "epoch": self._epoch,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "nadir": dict(self._nadir),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch = state["epoch"]
        self._sums = dict(state["sums"])
        self._counts = dict(state["counts"])
        self._nadir = dict(state["nadir"])

    def _measure(self, tasks: Sequence[str], losses: np.ndarray) -> None:
        if self._epoch < self.warmup_epochs:
            return
        for task, loss in zip(tasks, losses.tolist(), strict=True):
            if task not in self._nadir:
                self._sums[task] = self._sums.get(task, 0.0) + loss
                self._counts[task] = self._counts.get(task, 0) + 1

    def _weights_on_ratios(self, tasks: Sequence[str], losses: np.ndarray) -> np.ndarray:
        weights = 1.0 / losses
        ready = np.array([task in self._nadir for task in tasks])
        if ready.any():
            names = [task for task in tasks if task in self._nadir]
            logarithms = np.log(losses[ready] / np.array([self._nadir[task] for task in names]))
            importance = len(names) * self._preferences(names)
            weights[ready] *= len(names) * importance * softmax(importance * logarithms / self.mu)
        return weights

    def _preferences(self, tasks: Sequence[str]) -> np.ndarray:
        if self.preference is None:
            return np.full(len(tasks), 1.0 / len(tasks))
        require_known_tasks("STCH: preference", self.preference, tasks)
        values = np.array([self.preference[task] for task in tasks], dtype=np.float64)
        return values / values.sum()
