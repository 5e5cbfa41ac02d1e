"""How far the weights that a strategy decides move while cached ones are in use."""

import numpy as np

from coral_mtl.diagnostics.reader import Record
from coral_mtl.diagnostics.tally import Tally


class Refreshes:
    """Compares each decision with the one before it, where cached weights were reused in between.

    Only where every step in between has a record: with `diagnostics.record_every` above 1 the decision before it may
    not have been written.

    changes: sum_t |c_t - c'_t| / max(sum_t |c_t|, sum_t |c'_t|) over the tasks of both, from 0 to 2, counted from the
    given level on. intervals: steps from one decision to the next.
    """

    def __init__(self, level: float) -> None:
        """Start before the first record."""
        self.changes = Tally([level], beyond=np.greater_equal)
        self.intervals = Tally()
        self._weights: dict[str, float] = {}
        self._step = 0
        self._last = 0
        self._reused = False

    def add(self, record: Record) -> None:
        """Take in the next record; one without weights, of a skipped step, leaves no trace."""
        if record.step > self._last + 1:
            self._weights = {}
        self._last = record.step
        if record.reused:
            self._reused = True
        elif record.weights:
            both = [(weight, self._weights[t]) for t, weight in record.weights.items() if t in self._weights]
            most = max((sum(abs(pair[side]) for pair in both) for side in (0, 1)), default=0.0)
            if self._reused and most > 0.0:
                self.changes.add(record.step, {"change": sum(abs(new - old) for new, old in both) / most})
                self.intervals.add(record.step, {"interval": record.step - self._step})
            self._weights, self._step, self._reused = dict(record.weights), record.step, False
