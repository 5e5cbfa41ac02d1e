"""Cosine decay that begins again and again."""

import math
from dataclasses import dataclass

from coral_mtl import registry
from coral_mtl.errors import ConfigError
from coral_mtl.options import NonNegative, Positive
from coral_mtl.schedules.horizon import Horizon, Length, positive_duration, settled
from coral_mtl.schedules.schedule import Curve, Schedule


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle, in steps: which one it is, counted from 0, its first step and its length."""

    index: int
    start: float
    length: float


@registry.schedules.register
class Restarts(Schedule):
    """Cosine annealing with warm restarts (Loshchilov & Hutter 2017), with any multiplier above 0.

    Cycle i lasts P m^i and starts at S_i = P (1 + m + ... + m^(i-1)); within it, with q = (step - S_i) / (P m^i),

        floor + (peak decay^i - floor) (1 + cos(pi q)) / 2.

    The step at which a cycle starts is at its peak exactly. A decayed peak stays at the floor or above. Cycles that
    shrink (m < 1) would all end by P / (1 - m): they stop shrinking at one epoch, or at P where P is shorter.
    """

    def __init__(
        self,
        *,
        period: Length,
        multiplier: Positive = 1.0,
        peak: Positive = 1.0,
        decay: Positive = 1.0,
        floor: NonNegative = 0.01,
    ) -> None:
        """Set the cycles.

        Args:
            period: length P of the first cycle: `10 epochs`, `500 steps`, or a share of the run.
            multiplier: each cycle is this many times as long as the one before; any number above 0 (default 1.0).
            peak: value at the start of the first cycle (default 1.0).
            decay: factor on the peak from cycle to cycle (default 1.0).
            floor: value that each cycle falls to (default 0.01).

        Raises:
            ConfigError: a period of 0, or a peak below the floor.
        """
        self.period = positive_duration("Restarts: a period", period)
        self.multiplier = multiplier
        self.peak = peak
        self.decay = decay
        self.floor = floor
        if peak < floor:
            raise ConfigError(f"Restarts: the peak {peak:g} is below the floor {floor:g}")

    def cycle(self, step: float, run: Horizon) -> Cycle:
        """Return the cycle that a step belongs to."""
        index, start, length = 0, 0.0, self.period.steps(run)
        shortest = min(length, run.steps_per_epoch)
        while step >= settled(start + length):
            following = max(settled(length * self.multiplier), shortest)
            if following == length:  # all cycles from here on are of one length
                passed = math.floor(settled((step - start) / length))
                return Cycle(index + passed, settled(start + passed * length), length)
            index, start, length = index + 1, settled(start + length), following
        return Cycle(index, start, length)

    def bind(self, run: Horizon) -> Curve:
        """Return the curve; raise ConfigError where every cycle is a single step, which never leaves the peak."""
        if self.period.steps(run) <= 1.0 and self.multiplier <= 1.0:
            raise ConfigError(
                f"Restarts: with {run.steps_per_epoch:g} steps to the epoch a cycle of {self.period} is over at once, "
                "and the value never leaves its peak\n    lengthen the period"
            )

        def value(step: float) -> float:
            cycle = self.cycle(step, run)
            share = (step - cycle.start) / cycle.length
            peak = max(self.peak * self.decay**cycle.index, self.floor)
            return self.floor + (peak - self.floor) * (1.0 + math.cos(math.pi * share)) / 2.0

        return value
