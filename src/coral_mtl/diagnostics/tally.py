"""Running figures of named series in bounded memory: what a diagnosis keeps of a file that may be larger than that."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coral_mtl.errors import DataError

_BLOCK = 32
_MAX_NAMES = 100_000
_MAX_BLOCKS = 16
_MOST_TEXTS = 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """What a Tally knows of one series: `hits`, `first` and `last` say, by level, which records were beyond it.

    `nonfinite` records are in no other figure but `nonfinite_steps`, the first and last of theirs. `first` and `last`
    are steps, None where there was no hit.
    """

    count: int
    nonfinite: int
    mean: float
    low: float
    high: float
    hits: tuple[int, ...]
    first: tuple[int | None, ...]
    last: tuple[int | None, ...]
    nonfinite_steps: tuple[int, int] | None

    def share(self, level: int = 0) -> float:
        """Share of the finite records beyond a level; 0 where there are none."""
        return self.hits[level] / self.count if self.count else 0.0

    def span(self, otherwise: tuple[int, int], level: int = 0) -> tuple[int, int]:
        """First and last step with a record beyond a level; `otherwise` where there is none."""
        first, last = self.first[level], self.last[level]
        return otherwise if first is None or last is None else (first, last)


class Tally:
    """Counts, means, extremes and shares beyond given levels, by name, over any number of records."""

    def __init__(self, levels: Sequence[float] = (), *, beyond: Callable[[Any, float], Any] = np.less) -> None:
        """Start with nothing; `beyond(values, level)` says elementwise which values are beyond a level."""
        self._levels = tuple(levels)
        self._beyond = beyond
        self._columns: dict[Hashable, int] = {}
        self._sums = np.zeros((3 + len(self._levels), 0))  # counts, counts of non-finite values, totals, hits by level
        self._lows = np.zeros((2 + len(self._levels), 0))  # lowest values, first steps: of non-finite ones, by level
        self._highs = np.zeros((2 + len(self._levels), 0))  # highest values, last steps likewise
        self._names: tuple[Hashable, ...] = ()
        self._waiting: list[tuple[float, ...]] = []

    def add(self, step: int, values: Mapping[Any, float]) -> None:
        """Take in one record's values by name; the names may differ from record to record.

        Raises:
            DataError: there are more different names than any training run has.
        """
        if not values:
            return
        names = tuple(values)
        if names != self._names or len(self._waiting) == _BLOCK:
            self._settle()
            self._names = names
        self._waiting.append((step, *values.values()))

    def figures(self) -> dict[Any, Figures]:
        """Return the figures of every name, in order of first appearance."""
        self._settle()
        return {name: self._figures_of(column) for name, column in self._columns.items()}

    def _figures_of(self, column: int) -> Figures:
        count, nonfinite, total, *hits = self._sums[:, column].tolist()
        low, odd_from, *first = self._lows[:, column].tolist()
        high, odd_to, *last = self._highs[:, column].tolist()
        return Figures(
            count=int(count),
            nonfinite=int(nonfinite),
            mean=total / count if count else float("nan"),
            low=low,
            high=high,
            hits=tuple(map(int, hits)),
            first=tuple(int(step) if hit else None for step, hit in zip(first, hits, strict=True)),
            last=tuple(int(step) if hit else None for step, hit in zip(last, hits, strict=True)),
            nonfinite_steps=(int(odd_from), int(odd_to)) if nonfinite else None,
        )

    def _settle(self) -> None:
        """Fold the waiting records, which all have the same names, into the sums."""
        if not self._waiting:
            return
        at = self._columns_of(self._names)
        block = np.array(self._waiting, float)
        self._waiting = []
        steps, values = block[:, :1], block[:, 1:]
        finite = np.isfinite(values)
        hits = [~finite, *(finite & self._beyond(values, level) for level in self._levels)]
        counts = [hit.sum(0) for hit in hits]
        with np.errstate(over="ignore"):
            totals = np.where(finite, values, 0.0).sum(0)
            self._sums[:, at] += [len(block) - counts[0], counts[0], totals, *counts[1:]]
        lows = [np.where(finite, values, np.inf).min(0), *(np.where(hit, steps, np.inf).min(0) for hit in hits)]
        highs = [np.where(finite, values, -np.inf).max(0), *(np.where(hit, steps, -np.inf).max(0) for hit in hits)]
        self._lows[:, at] = np.minimum(self._lows[:, at], lows)
        self._highs[:, at] = np.maximum(self._highs[:, at], highs)

    def _columns_of(self, names: tuple[Hashable, ...]) -> np.ndarray:
        new = [name for name in names if name not in self._columns]
        if len(self._columns) + len(new) > _MAX_NAMES:
            raise DataError(f"more than {_MAX_NAMES} different names in one run: these are no diagnostics of tasks")
        if new:
            self._columns |= {name: len(self._columns) + place for place, name in enumerate(new)}
            self._sums = np.pad(self._sums, ((0, 0), (0, len(new))))
            self._lows = np.pad(self._lows, ((0, 0), (0, len(new))), constant_values=np.inf)
            self._highs = np.pad(self._highs, ((0, 0), (0, len(new))), constant_values=-np.inf)
        return np.array([self._columns[name] for name in names])


class Counts(Counter[str]):
    """How often each text came, and at which steps; of ever new texts the first 1,000, the others as "others"."""

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self._steps: dict[str, tuple[int, int]] = {}

    def add(self, text: str, step: int) -> None:
        """Take in that `text` came at `step`."""
        known = text if text in self or len(self) < _MOST_TEXTS else "others"
        self[known] += 1
        first, last = self._steps.get(known, (step, step))
        self._steps[known] = min(first, step), max(last, step)

    def steps(self, *texts: str) -> tuple[int, int]:
        """Return the first and the last step of some of the texts, of all where none are named."""
        spans = [self._steps[text] for text in texts or self]
        return min(first for first, _ in spans), max(last for _, last in spans)


class Averages:
    """Moving averages of named series: m <- (1 - 1/window) m + x/window, divided by the weight that it has so far."""

    def __init__(self, window: int) -> None:
        """Start with nothing; `window` is the length of the averages in values, 1 for the values themselves."""
        self._share = 1.0 / window
        self._sums: dict[Any, tuple[float, float]] = {}

    def add(self, values: Mapping[Any, float]) -> dict[Any, float]:
        """Take in one value of each name and return the averages; one that is not finite stays as it is."""
        averages = {}
        for name, value in values.items():
            total, weight = self._sums.get(name, (0.0, 0.0))
            total += self._share * (value - total)
            weight += self._share * (1.0 - weight)
            if math.isfinite(value):
                self._sums[name] = total, weight
            averages[name] = total / weight
        return averages


def root_mean_square(values: np.ndarray) -> float:
    """The square root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


class Trend:
    """Means of one series over at most 16 consecutive blocks of equal length, which doubles when they are full."""

    _LIMIT = 1e100  # of a value, so that its square stays finite

    def __init__(self) -> None:
        self._length = 1
        self._blocks: list[list[float]] = [[0, 0.0, 0.0]]  # count, sum and sum of squares of each

    def add(self, value: float) -> None:
        """Take in the next value."""
        value = min(max(value, -self._LIMIT), self._LIMIT)
        if self._blocks[-1][0] == self._length:
            self._open_block()
        block = self._blocks[-1]
        block[0] += 1
        block[1] += value
        block[2] += value * value

    def means(self) -> np.ndarray:
        """Means of the blocks, in order; a last block that is less than half full is left out."""
        return np.array([total / count for count, total, _ in self._counted()])

    def errors(self) -> np.ndarray:
        """Standard errors of the means of the blocks."""
        variances = [max(squares / n - (total / n) ** 2, 0.0) / max(n - 1, 1) for n, total, squares in self._counted()]
        return np.sqrt(variances)

    def standard_error(self) -> float:
        """Root mean square of the standard errors of the blocks' means."""
        return root_mean_square(self.errors())

    def deviation(self) -> float:
        """Standard deviation of single values about the means of their blocks."""
        return self.standard_error() * math.sqrt(self._length)

    def _open_block(self) -> None:
        if len(self._blocks) == _MAX_BLOCKS:
            self._length *= 2
            self._blocks = [
                [x + y for x, y in zip(a, b, strict=True)]
                for a, b in zip(self._blocks[::2], self._blocks[1::2], strict=True)
            ]
        self._blocks.append([0, 0.0, 0.0])

    def _counted(self) -> list[list[float]]:
        return [block for block in self._blocks if 2 * block[0] >= self._length]
