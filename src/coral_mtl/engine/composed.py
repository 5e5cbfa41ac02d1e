"""What every strategy that is made of others does in the same way: a stack, a product, a wrapper."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import Memory, Strategy
from coral_mtl.schedules import Horizon


class Composed(Strategy):
    """A strategy made of others: it needs what they need, has what they have, and tells them what it is told.

    How its decision follows from theirs is for each subclass to say, and whatever else it does in a way of its own.
    """

    def __init__(self, parts: Mapping[str, Strategy]) -> None:
        """Put strategies together, each under the key that its state has in `state_dict`."""
        self.parts = dict(parts)
        each = list(self.parts.values())
        self.needs = max(part.needs for part in each)
        self.batches = max(part.batches for part in each)
        self.rows_on_features = all(part.rows_on_features for part in each)
        self.update_frequency = min(part.update_frequency for part in each if part.needs is self.needs)
        self.wants_losses_after = any(part.wants_losses_after for part in each)
        self.wants_predictions = any(part.wants_predictions for part in each)
        self.learned = any(part.learned for part in each)

    def bind(self, tasks: Sequence[str]) -> None:
        for part in self.parts.values():
            part.bind(tasks)

    def begin(self, run: Horizon) -> None:
        for part in self.parts.values():
            part.begin(run)

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for part in self.parts.values() for parameter in part.parameters()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts.values() for group in part.parameter_groups()]

    def parameter_gradients(self, observation: Observation) -> list[tuple[nn.Parameter, Tensor]]:
        return [pair for part in self.parts.values() for pair in part.parameter_gradients(observation)]

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return max(part.needs_now(tasks) for part in self.parts.values())

    def idle_tasks(self, step: int) -> frozenset[str]:
        return frozenset[str]().union(*(part.idle_tasks(step) for part in self.parts.values()))

    def observe_after(self, observation: Observation) -> None:
        for part in self.parts.values():
            if part.wants_losses_after:
                part.observe_after(observation)

    def observe_validation(self, metrics: Mapping[str, float]) -> None:
        for part in self.parts.values():
            part.observe_validation(metrics)

    def end_epoch(self) -> None:
        for part in self.parts.values():
            part.end_epoch()

    def memories(self) -> dict[str, Memory]:
        return dict(self.parts)
