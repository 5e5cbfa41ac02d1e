"""Times with values: what `Steps` and `Knots` share."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise

from coral_mtl.errors import ConfigError
from coral_mtl.schedules.horizon import Duration, Horizon


def in_order(what: str, values: Mapping[Duration, float], run: Horizon) -> tuple[list[float], list[float]]:
    """Return times in steps and their values; raise ConfigError about `what` unless each time is after the last."""
    times = [time.steps(run) for time in values]
    if any(later <= earlier for earlier, later in pairwise(times)):
        written = ", ".join(f"{time} is step {steps:g}" for time, steps in zip(values, times, strict=True))
        raise ConfigError(f"{what}: the times must increase, but {written}")
    return times, list(values.values())


def last_at(times: list[float], step: float) -> int:
    """Return the index of the last time that `step` has reached, -1 before the first."""
    return bisect_right(times, step) - 1
