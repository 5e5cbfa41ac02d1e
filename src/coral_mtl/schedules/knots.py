"""A continuous curve through given values at given times."""

import math
from collections.abc import Mapping
from typing import Literal

from coral_mtl import registry
from coral_mtl.errors import ConfigError
from coral_mtl.schedules.horizon import Horizon, Length, duration
from coral_mtl.schedules.schedule import Curve, Schedule
from coral_mtl.schedules.timetable import in_order, last_at


@registry.schedules.register
class Knots(Schedule):
    """Given values at given times, joined by straight lines or half cosine waves; constant before and after.

    With q the share of the way from one time to the next, v = a + (b - a) q or v = b + (a - b) (1 + cos(pi q)) / 2.
    """

    def __init__(self, *, values: Mapping[Length, float], shape: Literal["linear", "cosine"] = "linear") -> None:
        """Set the values.

        Args:
            values: time to value, two or more, such as `{10 epochs: 0, 30 epochs: 2}`.
            shape: how the value moves in between (default linear).

        Raises:
            ConfigError: fewer than two values.
        """
        self.values = {duration(time): value for time, value in values.items()}
        self.shape = shape
        if len(self.values) < 2:
            raise ConfigError("Knots: two values or more make a curve\n    use Constant for a single value")

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError where the times do not increase."""
        times, values = in_order("Knots", self.values, run)

        def value(step: float) -> float:
            last = last_at(times, step)
            if last < 0:
                return values[0]
            if last == len(times) - 1:
                return values[-1]
            share = self._eased((step - times[last]) / (times[last + 1] - times[last]))
            return values[last] + (values[last + 1] - values[last]) * share

        return value

    def _eased(self, share: float) -> float:
        return share if self.shape == "linear" else (1.0 - math.cos(math.pi * share)) / 2.0
