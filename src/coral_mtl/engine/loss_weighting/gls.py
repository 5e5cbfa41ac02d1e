"""Geometric loss strategy (GLS): the geometric mean of the losses."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.options import Positive


@registry.strategies.register
class GLS(LossWeighting):
    """The geometric mean of the losses: SI's direction, times the geometric mean over T.

    L = (prod_t l_t)^(1/T) = exp(mean_t log l_t), w_t = L / (T l_t), with max(l_t, epsilon) in the place of l_t.
    Negative losses are a StrategyError.
    """

    convention = "mean"
    paper = "Chennupati et al.: MultiNet++ (CVPR Workshops 2019)"

    def __init__(self, *, epsilon: Positive = 1e-8) -> None:
        """Set the smallest loss.

        Args:
            epsilon: a loss below this counts as this value, so that a single zero does not stop all tasks (default
                1e-8).
        """
        self.epsilon = epsilon

    def weigh(self, observation: Observation) -> np.ndarray:
        losses = np.maximum(require_nonnegative("GLS", observation), self.epsilon)
        return np.exp(np.mean(np.log(losses))) / (len(losses) * losses)
