"""IMTL: impartial in the losses (IMTL-L) and in the gradients (IMTL-G)."""

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.imtl_g import IMTLG
from coral_mtl.engine.loss_weighting.imtl_l import IMTLL
from coral_mtl.engine.stack import Stack
from coral_mtl.options import Positive, PositiveInt


@registry.strategies.register
class IMTL(Stack):
    """IMTL-G on the gradients of the losses that IMTL-L has scaled.

    w_t = exp(s_t), trained on sum_t exp(s_t) l_t - s_t;  d = sum_t c_t w_t g_t with c from IMTL-G on the w_t g_t. The
    task-specific parameters of task t see w_t.

    The direction of d is that of IMTL-G, which no scaling of the losses changes; its length and the heads follow the
    learned scales. Give `engine.parameter_groups()` to the optimiser. Fails as its two parts do.
    """

    convention = "own"
    paper = "Liu et al.: Towards Impartial Multi-Task Learning (ICLR 2021), algorithm 1"

    def __init__(
        self,
        *,
        initial_log_weight: float = 0.0,
        lr: Positive | None = None,
        clamp: Positive = 10.0,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set how the scales are trained.

        Args:
            initial_log_weight: s_t at the start (default 0, weight 1).
            lr: learning rate of the log-weights (default: that of the optimiser).
            clamp: s_t acts as if within [-clamp, clamp] (default 10).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        super().__init__(
            IMTLL(initial_log_weight=initial_log_weight, lr=lr, clamp=clamp), IMTLG(update_frequency=update_frequency)
        )
