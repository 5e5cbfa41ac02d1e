"""Gradient-normalised weighting: each loss divided by the running norm of its gradient."""

from typing import Any, Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.gradient_norms import NormWeighting
from coral_mtl.engine.loss_weighting.inverse_size import InverseSizes, Reference
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import Memory
from coral_mtl.options import Positive, PositiveInt, ProperFraction


@registry.strategies.register
class GradientNormalised(NormWeighting):
    """Each loss divided by a bias-corrected moving average of the norm of its gradient.

    w_t = r / n_t, log n_t = EMA(log |g_t|) / (1 - beta^k) with this step's gradient included, r = 1 or the geometric
    mean of the n_t. g_t is the gradient on the shared parameters, or dl_t/dP at the predictions P: that costs no pass
    through the network, and is what several losses of one prediction differ in. The two are not the same (the network
    between them turns and stretches gradients). A task whose gradient is zero, or that is absent from a batch, keeps
    its average.

    Records `prediction_gradient_norm` by task where it looks at the predictions.
    """

    convention = "own"

    def __init__(
        self,
        *,
        at: Literal["prediction", "parameters"] = "parameters",
        beta: ProperFraction = 0.9,
        reference: Reference = "geometric_mean",
        max_weight: Positive = 1e3,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the memory, the overall scale and the cost.

        Args:
            at: where the gradient's norm is taken. `parameters` costs one backward per task at the steps that look;
                `prediction` costs the losses' own backward passes alone, and under accumulation still one backward per
                task, since the decision waits for the whole batch (default parameters).
            beta: decay of the average per refresh; 0.9 remembers about 10 of them (default 0.9).
            reference: `geometric_mean` keeps the overall size of the gradients; `one` makes each of them about 1, so
                that the step no longer shrinks near an optimum (default geometric_mean).
            max_weight: no weight exceeds this, for gradients that vanish (default 1000).
            update_frequency: look at the gradients once in this many optimiser steps, at the cost of a single backward
                in between (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.at = at
        self.needs = Needs.LOSSES if at == "prediction" else Needs.GRAM
        self.wants_predictions = at == "prediction"
        self.beta = beta
        self.reference = reference
        self.max_weight = max_weight
        self._sizes = InverseSizes(beta=beta, reference=reference, max_weight=max_weight, logarithmic=True)

    def weigh(self, observation: Observation) -> np.ndarray:
        norms = observation.require_prediction_norms() if self.wants_predictions else observation.norms
        self._sizes.update(observation.tasks, norms)
        weights = self._sizes.weights(observation.tasks)
        self._keep(observation.tasks, weights)
        return weights

    def records(self, observation: Observation) -> dict[str, Any]:
        norms = observation.prediction_norms
        if norms is None:
            return {}
        return {"prediction_gradient_norm": dict(zip(observation.tasks, norms.tolist(), strict=True))}

    def memories(self) -> dict[str, Memory]:
        return {"sizes": self._sizes}
