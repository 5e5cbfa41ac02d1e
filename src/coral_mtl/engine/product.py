"""Two loss weightings multiplied, such as a schedule of weights on losses divided by the norms of their gradients."""

import numpy as np

from coral_mtl.engine.composed import Composed
from coral_mtl.engine.observation import Decision, Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.errors import StrategyError


class Product(Composed, LossWeighting):
    """w_t = u_t v_t, with u and v from two weightings that both look at the losses and gradients as they are.

    A normalisation that saw weighted gradients would undo the weights, so this is no stack.
    """

    def __init__(self, first: LossWeighting, second: LossWeighting) -> None:
        """Multiply two weightings; raise StrategyError where one of them cannot be."""
        for part in (first, second):
            if not isinstance(part, LossWeighting) or part.learned:
                reason = "learns its weights by a loss of its own" if part.learned else "is no loss weighting"
                raise StrategyError(
                    f"{type(part).__name__} {reason}, and cannot be multiplied with another weighting"
                    "\n    take loss weightings such as Static and GradientNormalised"
                )
        super().__init__({"first": first, "second": second})

    def decide(self, observation: Observation) -> Decision:
        first, second = (part.decide(observation) for part in self.parts.values())
        weights = first.coefficients * second.coefficients
        return Decision(
            weights,
            head_coefficients=weights,
            records=first.records | second.records,
            refreshed=first.refreshed and second.refreshed,
        )

    def weigh(self, observation: Observation) -> np.ndarray:
        return self.decide(observation).coefficients
