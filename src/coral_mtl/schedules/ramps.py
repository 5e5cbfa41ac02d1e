"""From one value to another, in one of four shapes; before and after nothing moves.

A ramp without a length reaches its end at the last step of the run, so that both ends are used. Give the length 1.0 to
end one step later, right after the run: a learning rate that falls to 0 then wastes no step on it.
"""

import math
from abc import abstractmethod

from coral_mtl import registry
from coral_mtl.options import Positive
from coral_mtl.schedules.horizon import Horizon, Length, duration
from coral_mtl.schedules.schedule import Curve, Schedule


class Ramp(Schedule):
    """A value that moves from `start` to `end` with the progress p = min(1, step / length)."""

    def __init__(self, *, start: float, end: float, length: Length | None = None) -> None:
        """Set both ends.

        Args:
            start: value at step 0.
            end: value when `length` has passed, and from then on.
            length: `10 epochs`, `500 steps`, or a share of the run (default: up to the last step of the run).
        """
        self.start = start
        self.end = end
        self.length = None if length is None else duration(length)

    @abstractmethod
    def between(self, progress: float) -> float:
        """Return the value at a progress in [0, 1)."""

    def bind(self, run: Horizon) -> Curve:
        length = run.steps - 1 if self.length is None else self.length.steps(run)
        return lambda step: self.end if step >= length else self.between(step / length)


@registry.schedules.register
class Linear(Ramp):
    """start + (end - start) p."""

    def between(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@registry.schedules.register
class Cosine(Ramp):
    """start + (end - start) (1 - cos(pi p)) / 2 (Loshchilov & Hutter 2017, equation 5)."""

    def between(self, progress: float) -> float:
        return self.start + (self.end - self.start) * (1.0 - math.cos(math.pi * progress)) / 2.0


@registry.schedules.register
class Geometric(Ramp):
    """start (end / start)^p: the same factor at every step, the exponential between two ends."""

    def __init__(self, *, start: Positive, end: Positive, length: Length | None = None) -> None:
        """Set both ends.

        Args:
            start: value at step 0, above 0.
            end: value when `length` has passed, and from then on, above 0.
            length: `10 epochs`, `500 steps`, or a share of the run (default: up to the last step of the run).
        """
        super().__init__(start=start, end=end, length=length)

    def between(self, progress: float) -> float:
        return self.start * (self.end / self.start) ** progress


@registry.schedules.register
class Polynomial(Ramp):
    """start + (end - start) (1 - (1 - p)^power)."""

    def __init__(self, *, start: float, end: float, power: Positive = 1.0, length: Length | None = None) -> None:
        """Set both ends and the shape.

        Args:
            start: value at step 0.
            end: value when `length` has passed, and from then on.
            power: 1 is linear, larger ones move faster at first (default 1.0).
            length: `10 epochs`, `500 steps`, or a share of the run (default: up to the last step of the run).
        """
        super().__init__(start=start, end=end, length=length)
        self.power = power

    def between(self, progress: float) -> float:
        return self.start + (self.end - self.start) * (1.0 - (1.0 - progress) ** self.power)
