"""IMTL-L: impartial loss weighting, learned with the model."""

from collections.abc import Sequence

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.learned import LearnedWeighting
from coral_mtl.options import Positive


@registry.strategies.named("IMTL-L")
class IMTLL(LearnedWeighting):
    """Weights exp(s_t) that bring every weighted loss to the same value, trained with the model.

    L = sum_t exp(s_t) l_t - s_t: w_t = exp(s_t), dL/ds_t = w_t l_t - 1, which settles at w_t = 1/l_t, the direction of
    sum_t log l_t.

    Give `engine.parameter_groups()` to the optimiser, or the weights never move. The s_t of a task that is absent from
    a batch stays. A loss whose mean is zero or negative has no optimal s_t: s_t goes to clamp and the weight to
    exp(clamp), where it stays.
    """

    convention = "own"
    paper = "Liu et al.: Towards Impartial Multi-Task Learning (ICLR 2021)"
    figures = "log_weights"

    def __init__(self, *, initial_log_weight: float = 0.0, lr: Positive | None = None, clamp: Positive = 10.0) -> None:
        """Set how s is trained.

        Args:
            initial_log_weight: s_t at the start (default 0, weight 1).
            lr: learning rate of the log-weights (default: that of the optimiser).
            clamp: s_t acts as if within [-clamp, clamp], so that weights stay within exp(-clamp) and exp(clamp)
                (default 10).
        """
        super().__init__(initial=initial_log_weight, clamp=clamp, lr=lr)

    def weights_at(self, tasks: Sequence[str], s: np.ndarray) -> np.ndarray:
        return np.exp(s)

    def slopes_at(self, tasks: Sequence[str], s: np.ndarray, losses: np.ndarray) -> np.ndarray:
        return np.exp(s) * losses - 1.0
