"""Values that stay for a while: constants, thresholds, and decays without an end."""

import math
from collections.abc import Mapping

from coral_mtl import registry
from coral_mtl.errors import ConfigError
from coral_mtl.options import NonNegative, Positive
from coral_mtl.schedules.horizon import Horizon, Length, duration, positive_duration, settled
from coral_mtl.schedules.schedule import Curve, Schedule
from coral_mtl.schedules.timetable import in_order, last_at


@registry.schedules.register
class Constant(Schedule):
    """The same value at every step."""

    def __init__(self, *, value: float = 1.0) -> None:
        """Set the value.

        Args:
            value: the value (default 1.0).
        """
        self.value = value

    def bind(self, run: Horizon) -> Curve:
        return lambda step: self.value


@registry.schedules.register
class Steps(Schedule):
    """A value for each stretch of the run; each holds from its time on, that step included."""

    def __init__(self, *, values: Mapping[Length, float]) -> None:
        """Set the values.

        Args:
            values: time to value, such as `{0: 0.9, 0.5: 0.55, 0.75: 0.2}` or `{0: 1, 15 epochs: 0.1}`; the first time
                is 0.

        Raises:
            ConfigError: there is no value for step 0.
        """
        self.values = {duration(time): value for time, value in values.items()}
        if not self.values or next(iter(self.values)).amount != 0.0:
            raise ConfigError("Steps: the first value must be the one from time 0 on\n    begin with 0: <value>")

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError where times do not increase or one is after the end of the run."""
        times, values = in_order("Steps", self.values, run)
        if times[-1] >= run.steps:
            raise ConfigError(
                f"Steps: the value {values[-1]:g} begins at step {times[-1]:g}, and the run has {run.steps:g} steps"
                "\n    it would never be used: leave it out, or train longer"
            )
        return lambda step: values[last_at(times, step)]


@registry.schedules.register
class StepDecay(Schedule):
    """start factor^floor(step / every)."""

    def __init__(self, *, factor: Positive, every: Length, start: float = 1.0) -> None:
        """Set the size of a step and how often it is made.

        Args:
            factor: what the value is multiplied with.
            every: how often: `10 epochs`, `500 steps`, or a share of the run.
            start: value at step 0 (default 1.0).
        """
        self.factor = factor
        self.every = positive_duration("StepDecay: an interval", every)
        self.start = start

    def bind(self, run: Horizon) -> Curve:
        every = self.every.steps(run)
        return lambda step: self.start * self.factor ** math.floor(settled(step / every))


@registry.schedules.register
class Exponential(Schedule):
    """start exp(-rate step / per): a decay that never ends. `Geometric` is the exponential between two values."""

    def __init__(self, *, rate: NonNegative, per: Length = "1 epochs", start: float = 1.0) -> None:
        """Set how fast the value falls.

        Args:
            rate: the value falls to exp(-rate) of itself...
            per: ...in this time: `1 epochs`, `500 steps`, or a share of the run (default 1 epochs).
            start: value at step 0 (default 1.0).
        """
        self.rate = rate
        self.per = positive_duration("Exponential: a time", per)
        self.start = start

    def bind(self, run: Horizon) -> Curve:
        per = self.per.steps(run)
        return lambda step: self.start * math.exp(-self.rate * step / per)
