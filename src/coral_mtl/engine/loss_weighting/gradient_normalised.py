"""Gradient-normalised weighting: each loss divided by the running norm of its gradient."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.gradient_norms import NormWeighting
from coral_mtl.engine.loss_weighting.inverse_size import InverseSizes, Reference
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.strategy import State
from coral_mtl.options import Positive, PositiveInt, ProperFraction


@registry.strategies.register
class GradientNormalised(NormWeighting):
    """Each loss divided by a bias-corrected moving average of the norm of its gradient on the shared parameters.

    w_t = r / n_t, log n_t = EMA(log |g_t|) / (1 - beta^k) with this step's gradient included, r = 1 or the geometric
    mean of the n_t. A task whose gradient is zero, or that is absent from a batch, keeps its average.
    """

    convention = "own"

    def __init__(
        self,
        *,
        beta: ProperFraction = 0.9,
        reference: Reference = "geometric_mean",
        max_weight: Positive = 1e3,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the memory, the overall scale and the cost.

        Args:
            beta: decay of the average per refresh; 0.9 remembers about 10 of them (default 0.9).
            reference: `geometric_mean` keeps the overall size of the gradients; `one` makes each of them about 1, so
                that the step no longer shrinks near an optimum (default geometric_mean).
            max_weight: no weight exceeds this, for gradients that vanish (default 1000).
            update_frequency: look at the gradients once in this many optimiser steps, at the cost of a single backward
                in between (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.beta = beta
        self.reference = reference
        self.max_weight = max_weight
        self._sizes = InverseSizes(beta=beta, reference=reference, max_weight=max_weight, logarithmic=True)

    def weigh(self, observation: Observation) -> np.ndarray:
        self._sizes.update(observation.tasks, observation.norms)
        weights = self._sizes.weights(observation.tasks)
        self._keep(observation.tasks, weights)
        return weights

    def reset(self) -> None:
        super().reset()
        self._sizes.reset()

    def state_dict(self) -> State:
        return super().state_dict() | {"sizes": self._sizes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._sizes.load_state_dict(state["sizes"])
