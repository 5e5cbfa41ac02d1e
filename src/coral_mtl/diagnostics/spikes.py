"""Losses that shoot up: episodes above the recent level of a noisy series, not single outliers nor trends."""

import math
from collections import deque
from collections.abc import Mapping

_NEWEST = 0.05
"""Share of the newest value in the level and spread of a series."""

_LEARNED_FROM = 20
_MIDDLE_OF = 5
_FURTHEST = 3.0
"""In spreads: a value further above the level counts as this far above it, so that spikes do not raise it."""

_LEAST = 1e-3
"""What counts as far at least, where there is no noise at all."""

_DEVIATION = 0.5 * math.sqrt(math.pi)
"""Standard deviation of white noise as a part of the mean distance between two of its values."""


class Spikes:
    """Counts the episodes in which a series x, the logarithm of a loss, stays far above its recent level.

    With l the moving average of x, and s that of 0.89 |x - x'|, x' the value before (for white noise its standard
    deviation, whatever the trend): an episode begins where the median of the last 5 values exceeds l by log(ratio) and
    by `noise` s, and ends at half of that. Both are learned from 20 values, and anew whenever the learning rate rises:
    during a warm-up and right after a restart nothing is counted.

    counts: episodes by task. heights: the largest excess. steps: where the first and the last one began.
    """

    def __init__(self, ratio: float, noise: float) -> None:
        """Start with nothing."""
        self._ratio = math.log(ratio)
        self._noise = noise
        self._levels: dict[str, _Level] = {}
        self._rate = math.inf
        self.counts: dict[str, int] = {}
        self.heights: dict[str, float] = {}
        self.steps: dict[str, tuple[int, int]] = {}

    def add(self, step: int, logarithms: Mapping[str, float], rate: float | None) -> None:
        """Take in the logarithms of one step's losses, and its learning rate where that is known."""
        if rate is not None and math.isfinite(rate):
            if rate > self._rate:
                self._levels.clear()
            self._rate = rate
        for task, value in logarithms.items():
            self._add(step, task, value)

    def _add(self, step: int, task: str, value: float) -> None:
        level = self._levels.setdefault(task, _Level())
        height, least = level.height(value), max(self._ratio, self._noise * level.spread)
        if height >= least and not level.within_spike:
            self.counts[task] = self.counts.get(task, 0) + 1
            self.steps[task] = self.steps.get(task, (step, step))[0], step
        level.within_spike = height >= (0.5 * least if level.within_spike else least)
        if level.within_spike:
            self.heights[task] = max(self.heights.get(task, 0.0), height)
        level.learn(value)


class _Level:
    """Where a series has been, and how far from there its values are as a rule."""

    __slots__ = ("_count", "_last", "_level", "_recent", "spread", "within_spike")

    def __init__(self) -> None:
        self._count = 0
        self._level = self._last = 0.0
        self._recent: deque[float] = deque(maxlen=_MIDDLE_OF)
        self.spread = 0.0
        self.within_spike = False

    def height(self, value: float) -> float:
        """How far the median of the last values, this one included, is above the level; minus infinity at first."""
        self._recent.append(value)
        if self._count < _LEARNED_FROM:
            return -math.inf
        return sorted(self._recent)[_MIDDLE_OF // 2] - self._level

    def learn(self, value: float) -> None:
        """Take in the next value."""
        self._count += 1
        if self._count == 1:
            self._level = self._last = value
        most = max(_FURTHEST * self.spread, _LEAST) if self._count > _LEARNED_FROM else math.inf
        share = max(1.0 / self._count, _NEWEST)
        self._level += share * min(value - self._level, most)
        self.spread += share * (min(_DEVIATION * abs(value - self._last), most) - self.spread)
        self._last = value
