"""Curves over steps in bounded memory: what a picture keeps of a file that may be larger than that."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coral_mtl.errors import DataError

_MOST_BUCKETS = 512
_MOST_NAMES = 1000
_EMPTY = (0.0, 0.0, np.inf, -np.inf)
"""Count, total, lowest and highest value of a bucket without records."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One series in buckets of equal numbers of steps; only buckets with finite values are kept.

    length: steps that a bucket covers, a power of 2.
    buckets: their numbers, ascending; bucket k covers the steps k length to (k + 1) length - 1.
    counts, means, lows, highs: number, mean, lowest and highest of the finite values in each.
    """

    length: int
    buckets: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of all values, NaN where there is none."""
        return float(np.average(self.means, weights=self.counts)) if len(self.means) else float("nan")

    def coarsened(self, length: int) -> "Curve":
        """Return the curve in buckets of `length` steps, a power of 2 that is no less than the present one."""
        return merged([self], length)


def merged(curves: Sequence[Curve], length: int = 1) -> Curve:
    """Return one curve of all values of several, in the longest of their buckets, or of `length` where that is longer.

    Buckets are powers of 2 and counted from step 0, so that shorter ones lie within longer ones whole.
    """
    length = max([length, *(curve.length for curve in curves)])
    coarse = [curve.buckets // (length // curve.length) for curve in curves]
    buckets, rows = np.unique(np.concatenate(coarse or [np.zeros(0, int)]), return_inverse=True)
    sums = np.zeros((2, len(buckets)))
    lows, highs = np.full(len(buckets), np.inf), np.full(len(buckets), -np.inf)
    if curves:
        counts = np.concatenate([curve.counts for curve in curves])
        np.add.at(sums[0], rows, counts)
        np.add.at(sums[1], rows, counts * np.concatenate([curve.means for curve in curves]))
        np.minimum.at(lows, rows, np.concatenate([curve.lows for curve in curves]))
        np.maximum.at(highs, rows, np.concatenate([curve.highs for curve in curves]))
    means = np.clip(sums[1] / np.maximum(sums[0], 1), lows, highs)
    return Curve(length, buckets, sums[0], means, lows, highs)


class Curves:
    """Named series of one run over its steps, of the same size however long the run is.

    All series share their buckets: one a step at first; whenever there are more than 512, their length doubles.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.length = 1
        self._columns: dict[Hashable, int] = {}
        self._rows: dict[int, int] = {}
        self._known: dict[tuple[Hashable, ...], np.ndarray] = {}
        self._cells = np.zeros((4, 0, 0))

    def add(self, step: int, values: Mapping[Any, float]) -> None:
        """Take in the values of one step by name; those that are not finite leave no trace.

        Raises:
            DataError: there are more different names than a picture could show.
        """
        if not values:
            return
        columns, row = self._columns_of(tuple(values)), self._row(step)
        figures = np.fromiter(values.values(), float, len(values))
        finite = np.isfinite(figures)
        columns, figures = columns[finite], figures[finite]
        counts, totals, lows, highs = self._cells[:, row]
        counts[columns] += 1
        with np.errstate(over="ignore"):
            totals[columns] += figures
        lows[columns] = np.minimum(lows[columns], figures)
        highs[columns] = np.maximum(highs[columns], figures)

    def names(self) -> list[Hashable]:
        """Return the names of all series, in order of appearance."""
        return list(self._columns)

    def curve(self, name: Hashable) -> Curve:
        """Return the curve of one series, without buckets where there is no such series."""
        buckets = np.array(sorted(self._rows), int)
        rows = [self._rows[bucket] for bucket in buckets]
        column = self._columns.get(name)
        if column is None:
            return merged([], self.length)
        counts, totals, lows, highs = self._cells[:, rows, column]
        some = counts > 0
        means = totals[some] / counts[some]
        return Curve(self.length, buckets[some], counts[some], means, lows[some], highs[some])

    def _columns_of(self, names: tuple[Hashable, ...]) -> np.ndarray:
        if names not in self._known:
            new = [name for name in names if name not in self._columns]
            if len(self._columns) + len(new) > _MOST_NAMES:
                raise DataError(f"more than {_MOST_NAMES} different names in one run: too many for curves")
            self._columns |= {name: len(self._columns) + place for place, name in enumerate(new)}
            self._resize(self._cells.shape[1], len(self._columns))
            if len(self._known) == _MOST_BUCKETS:
                self._known.clear()  # names that differ from record to record: not worth remembering
            self._known[names] = np.array([self._columns[name] for name in names], int)
        return self._known[names]

    def _row(self, step: int) -> int:
        bucket = step // self.length
        row = self._rows.get(bucket)
        if row is not None:
            return row
        while len(self._rows) == _MOST_BUCKETS and bucket not in self._rows:
            self._double()
            bucket = step // self.length
        row = self._rows.setdefault(bucket, len(self._rows))
        if row >= self._cells.shape[1]:
            self._resize(min(2 * row + 8, _MOST_BUCKETS), len(self._columns))
        return row

    def _double(self) -> None:
        """Make buckets twice as long."""
        self.length *= 2
        old = np.array(list(self._rows), int)
        buckets, rows = np.unique(old // 2, return_inverse=True)
        cells = self._cells
        self._rows = {int(bucket): row for row, bucket in enumerate(buckets)}
        self._cells = np.zeros((4, 0, 0))
        self._resize(_MOST_BUCKETS, cells.shape[2])
        for into, cell, fold in zip(self._cells, cells, (np.add, np.add, np.minimum, np.maximum), strict=True):
            fold.at(into, rows, cell[: len(old)])

    def _resize(self, rows: int, columns: int) -> None:
        """Let there be room for so many rows and columns."""
        _, old_rows, old_columns = self._cells.shape
        grown = np.empty((4, rows, columns))
        grown[:] = np.array(_EMPTY)[:, None, None]
        grown[:, :old_rows, :old_columns] = self._cells
        self._cells = grown
