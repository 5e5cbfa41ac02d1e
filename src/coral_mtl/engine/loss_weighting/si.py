"""Scale-invariant weighting (SI): the sum of the logarithms of the losses."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.options import Positive


@registry.strategies.register
class SI(LossWeighting):
    """The sum of the logarithms of the losses, which does not change when a loss is rescaled.

    L = sum_t log l_t, w_t = 1 / max(l_t, epsilon). Negative losses are a StrategyError.
    """

    convention = "own"
    paper = "the scale-invariant baseline of Navon et al.: Multi-Task Learning as a Bargaining Game (ICML 2022)"

    def __init__(self, *, epsilon: Positive = 1e-8) -> None:
        """Set the smallest loss.

        Args:
            epsilon: a loss below this is weighted as if it had this value, so no weight exceeds 1/epsilon (default
                1e-8).
        """
        self.epsilon = epsilon

    def weigh(self, observation: Observation) -> np.ndarray:
        return 1.0 / np.maximum(require_nonnegative("SI", observation), self.epsilon)
