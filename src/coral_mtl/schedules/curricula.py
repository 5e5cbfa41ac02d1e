"""Weights of several terms that take one another's place: one schedule for each, continuous, on absolute time.

The plans are those that go by the name of adaptive loss scheduling, without their jumps: a term that enters begins at
0, where it is not evaluated yet.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from coral_mtl.errors import ConfigError
from coral_mtl.schedules.horizon import Horizon, Length, duration
from coral_mtl.schedules.knots import Knots
from coral_mtl.schedules.levels import Constant
from coral_mtl.schedules.schedule import Schedule

Shape = Literal["linear", "cosine"]
_LEVELS = (0.7, 0.8, 0.5)
"""Where the terms of a cascade end, as shares of the highest weight: the last two, and before them all others."""


def crossfade(begin: Length, end: Length, *, low: float, high: float, shape: Shape) -> list[Schedule]:
    """Return the weights of two terms: the first falls from `high` to `low` between two times, the second rises."""
    return [Knots(values={begin: first, end: last}, shape=shape) for first, last in ((high, low), (low, high))]


def cascade(times: Sequence[Length], run: Horizon, *, high: float, shape: Shape) -> list[Schedule]:
    """Return the weights of n terms, of which all but the first enter at n - 1 times.

    Each rises from 0 until the next one enters, the last one for as long as the one before it, or to the end of the run
    where there is none. The first has the weight `high` until the second enters, and falls while that one rises. They
    end at 0.7 `high`, the last but one at 0.8, and the last, which is the dearest as a rule, at 0.5.

    Raises:
        ConfigError: the times do not increase within the run.
    """
    steps = [duration(time).steps(run) for time in times]
    if not steps:
        return [Constant(value=high)]
    if any(later <= earlier for earlier, later in pairwise([0.0, *steps, run.steps])):
        raise ConfigError(
            f"a cascade: its terms enter at the steps {steps} of a run of {run.steps:g}\n"
            "    give increasing times, after 0 and before the end"
        )
    last = run.steps if len(steps) == 1 else steps[-1] + (steps[-1] - steps[-2])
    ends = [*steps[1:], last]
    shares = [_LEVELS[0]] * (len(steps) - 1) + [*_LEVELS[1:]]
    first = Knots(values={_at(steps[0]): high, _at(ends[0]): shares[0] * high}, shape=shape)
    others = zip(steps, ends, shares[1:], strict=True)
    return [first, *(Knots(values={_at(b): 0.0, _at(e): share * high}, shape=shape) for b, e, share in others)]


def _at(step: float) -> str:
    return f"{step!r} steps"
