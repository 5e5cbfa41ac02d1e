"""GradNorm: weights that equalise the tasks' gradient norms, corrected for how fast each task learns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.loss_weighting.gradient_norms import NormWeighting
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import State
from coral_mtl.options import NonNegative, Positive, PositiveInt


def gradnorm_slopes(weights: np.ndarray, norms: np.ndarray, rates: np.ndarray, alpha: float) -> np.ndarray:
    """Gradient in w, shape (T,), of sum_t |G_t - mean(G) r_t^alpha| with G_t = w_t n_t and the target held fixed.

    It is sign(G_t - mean(G) r_t^alpha) n_t: the norms n_t = |g_t| are all that is needed, no second backward.
    """
    sizes = weights * norms
    return np.sign(sizes - sizes.mean() * rates**alpha) * norms


@registry.strategies.register
class GradNorm(NormWeighting):
    """Weights that pull each weighted gradient norm G_t = w_t |g_t| towards mean(G) r_t^alpha.

    r_t = (l_t / l_t(0)) / mean_j (l_j / l_j(0)), with l_t(0) the loss at the task's first refresh (1 where that is 0).
    One descent step a refresh on sum_t |G_t - mean(G) r_t^alpha|, on all shared parameters; then the active weights are
    rescaled to their sum before, so that the weights of all tasks sum to T. A step uses the weights from before its own
    refresh, as in the paper.

    The descent is in log w_t and in units of mean(G): w_t <- w_t exp(-lr sign(...) G_t / mean(G)). It has the paper's
    fixed points, keeps weights positive, and does not depend on the scale of the gradients; the step in w_t itself
    crosses zero as soon as lr |g_t| > w_t. A task that is absent, or whose gradient is zero, keeps its weight. Negative
    losses are a StrategyError.
    """

    convention = "sum"
    paper = "Chen et al.: GradNorm (ICML 2018), equations 1 and 2, algorithm 1"

    def __init__(self, *, alpha: NonNegative = 1.5, lr: Positive = 0.025, update_frequency: PositiveInt = 1) -> None:
        """Set the pull and the pace.

        Args:
            alpha: strength of the pull towards equal training rates; 0 only equalises norms (default 1.5; the paper
                takes 0.12 where tasks are alike).
            lr: relative change of a weight whose gradient norm is the mean, per refresh (default 0.025).
            update_frequency: move the weights once in this many optimiser steps, at the cost of a single backward in
                between (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.alpha = alpha
        self.lr = lr
        self._initial: dict[str, float] = {}

    def weigh(self, observation: Observation) -> np.ndarray:
        weights = np.array([self._kept.get(task, 1.0) for task in observation.tasks])
        self._keep(observation.tasks, weights)
        active = np.flatnonzero(observation.norms)
        if active.size:
            self._move(observation.subset(active), weights[active])
        return weights

    def reset(self) -> None:
        super().reset()
        self._initial = {}

    def state_dict(self) -> State:
        return super().state_dict() | {"initial": dict(self._initial)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._initial = dict(state["initial"])

    def _move(self, observation: Observation, weights: np.ndarray) -> None:
        slopes = gradnorm_slopes(weights, observation.norms, self._rates(observation), self.alpha)
        moved = weights * np.exp(-self.lr * weights * slopes / np.mean(weights * observation.norms))
        self._keep(observation.tasks, moved * (weights.sum() / moved.sum()))

    def _rates(self, observation: Observation) -> np.ndarray:
        losses = require_nonnegative("GradNorm", observation)
        for task, loss in zip(observation.tasks, losses.tolist(), strict=True):
            self._initial.setdefault(task, loss or 1.0)
        progress = losses / np.array([self._initial[task] for task in observation.tasks])
        return progress / (progress.mean() or 1.0)
