"""Value-normalised weighting: each loss divided by its own running mean."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.loss_weighting.inverse_size import InverseSizes, Reference
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import LossWeighting, Memory
from coral_mtl.options import Positive, ProperFraction


@registry.strategies.register
class ValueNormalised(LossWeighting):
    """Each loss divided by a bias-corrected moving average of its own values.

    w_t = r / m_t, m_t = EMA(l_t) / (1 - beta^k) with this step's loss included, r = 1 or the geometric mean of the m_t.
    With beta = 0 and r = 1 it is SI. A task that is absent from a batch keeps its average. Negative losses are a
    StrategyError.
    """

    convention = "own"

    def __init__(self, *, beta: ProperFraction = 0.9, reference: Reference = "one", max_weight: Positive = 1e3) -> None:
        """Set the memory and the overall scale.

        Args:
            beta: decay of the average per optimiser step; 0.9 remembers about 10 steps (default 0.9).
            reference: `one` makes every weighted loss about 1; `geometric_mean` keeps the overall size of the losses,
                so that the step still shrinks as they do (default one).
            max_weight: no weight exceeds this, for losses that reach zero (default 1000).
        """
        self.beta = beta
        self.reference = reference
        self.max_weight = max_weight
        self._sizes = InverseSizes(beta=beta, reference=reference, max_weight=max_weight, logarithmic=False)

    def weigh(self, observation: Observation) -> np.ndarray:
        self._sizes.update(observation.tasks, require_nonnegative("ValueNormalised", observation))
        return self._sizes.weights(observation.tasks)

    def memories(self) -> dict[str, Memory]:
        return {"sizes": self._sizes}
