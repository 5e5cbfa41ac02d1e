"""Two loss weightings multiplied, such as a schedule of weights on losses divided by the norms of their gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Horizon


class Product(LossWeighting):
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
        self.parts = (first, second)
        self.needs = max(part.needs for part in self.parts)
        self.batches = max(part.batches for part in self.parts)
        self.update_frequency = max(self.parts, key=lambda part: part.needs).update_frequency
        self.wants_losses_after = any(part.wants_losses_after for part in self.parts)
        self.wants_predictions = any(part.wants_predictions for part in self.parts)

    def bind(self, tasks: Sequence[str]) -> None:
        for part in self.parts:
            part.bind(tasks)

    def begin(self, run: Horizon) -> None:
        for part in self.parts:
            part.begin(run)

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return max(part.needs_now(tasks) for part in self.parts)

    def idle_tasks(self, step: int) -> frozenset[str]:
        return self.parts[0].idle_tasks(step) | self.parts[1].idle_tasks(step)

    def decide(self, observation: Observation) -> Decision:
        first, second = (part.decide(observation) for part in self.parts)
        weights = first.coefficients * second.coefficients
        return Decision(
            weights,
            head_coefficients=weights,
            records=first.records | second.records,
            refreshed=first.refreshed and second.refreshed,
        )

    def weigh(self, observation: Observation) -> np.ndarray:
        return self.decide(observation).coefficients

    def observe_after(self, observation: Observation) -> None:
        for part in self.parts:
            part.observe_after(observation)

    def observe_validation(self, metrics: Mapping[str, float]) -> None:
        for part in self.parts:
            part.observe_validation(metrics)

    def end_epoch(self) -> None:
        for part in self.parts:
            part.end_epoch()

    def reset(self) -> None:
        for part in self.parts:
            part.reset()

    def state_dict(self) -> State:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(own)
