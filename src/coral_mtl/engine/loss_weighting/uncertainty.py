"""Uncertainty weighting: homoscedastic noise of each task, learned with the model."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_same_tasks
from coral_mtl.engine.loss_weighting.learned import LearnedWeighting
from coral_mtl.options import Positive

LossKind = Literal["classification", "regression"]


@registry.strategies.register
class Uncertainty(LearnedWeighting):
    """Weights from log-variances s_t = log sigma_t^2 that the optimiser trains with the model.

    L = sum_t k_t exp(-s_t) l_t + s_t/2, with k_t = 1 for a `classification` and 1/2 for a `regression` loss:
    w_t = k_t exp(-s_t), dL/ds_t = 1/2 - w_t l_t. Both forms settle at w_t = 1/(2 l_t), the direction of sum_t log l_t.

    Give `engine.parameter_groups()` to the optimiser, or the log-variances never move. The s_t of a task that is absent
    from a batch stays. A loss whose mean is zero or negative has no optimal s_t: s_t goes to -clamp and the weight to
    k_t exp(clamp), where it stays.
    """

    convention = "own"
    paper = (
        "Kendall, Gal, Cipolla: Multi-Task Learning Using Uncertainty to Weigh Losses (CVPR 2018), equations 7 and 10"
    )
    figures = "log_variances"

    def __init__(
        self,
        *,
        loss_kind: LossKind | dict[str, LossKind] = "classification",
        initial_log_variance: float = 0.0,
        lr: Positive | None = None,
        clamp: Positive = 10.0,
    ) -> None:
        """Set the likelihood of each task and how s is trained.

        Args:
            loss_kind: `classification` (weight exp(-s)) or `regression` (weight exp(-s)/2), for all tasks or by task
                name (default classification).
            initial_log_variance: s_t at the start (default 0, weight 1 or 1/2).
            lr: learning rate of the log-variances (default: that of the optimiser).
            clamp: s_t acts as if within [-clamp, clamp], so that weights stay within exp(-clamp) and exp(clamp)
                (default 10).
        """
        super().__init__(initial=initial_log_variance, clamp=clamp, lr=lr)
        self.loss_kind = loss_kind

    def bind(self, tasks: Sequence[str]) -> None:
        if isinstance(self.loss_kind, dict):
            require_same_tasks("Uncertainty: loss_kind", self.loss_kind, tasks)
        super().bind(tasks)

    def weights_at(self, tasks: Sequence[str], s: np.ndarray) -> np.ndarray:
        return np.array([0.5 if self._kind(task) == "regression" else 1.0 for task in tasks]) * np.exp(-s)

    def slopes_at(self, tasks: Sequence[str], s: np.ndarray, losses: np.ndarray) -> np.ndarray:
        return 0.5 - self.weights_at(tasks, s) * losses

    def _kind(self, task: str) -> LossKind:
        return self.loss_kind[task] if isinstance(self.loss_kind, dict) else self.loss_kind
