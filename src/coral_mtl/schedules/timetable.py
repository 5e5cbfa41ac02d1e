"""Times with values: what `Steps` and `Knots` share."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

from coral_mtl.errors import ConfigError
from coral_mtl.schedules.horizon import Duration, Horizon, Length, duration


def in_order(what: str, values: Mapping[Duration, float], run: Horizon) -> tuple[list[float], list[float]]:
    """Return times in steps and their values; raise ConfigError about `what` unless each time is after the last."""
    times = [time.steps(run) for time in values]
    if any(later <= earlier for earlier, later in pairwise(times)):
        written = ", ".join(f"{time} is step {steps:g}" for time, steps in zip(values, times, strict=True))
        raise ConfigError(f"{what}: the times must increase, but {written}")
    return times, list(values.values())


def stage_begins(begins: Sequence[Length], run: Horizon) -> list[float]:
    """Return the first step of each stage after the first; raise ConfigError unless they increase within the run."""
    steps = [duration(begin).steps(run) for begin in begins]
    if any(later <= earlier for earlier, later in pairwise([0.0, *steps, run.steps])):
        written = ", ".join(f"{begin} is step {step:g}" for begin, step in zip(begins, steps, strict=True))
        raise ConfigError(
            f"stages: each must begin after the one before and before the end, step {run.steps:g}, but {written}"
            "\n    train longer, or move or reorder the stages"
        )
    return steps


def last_at(times: list[float], step: float) -> int:
    """Return the index of the last time that `step` has reached, -1 before the first."""
    return bisect_right(times, step) - 1
