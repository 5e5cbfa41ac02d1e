"""Which epoch was the best so far, and when to stop waiting for a better one."""

import math
from collections.abc import Mapping
from typing import Any, Literal


class ModelSelection:
    """Follows one validation metric.

    The best epoch is the one with the best metric, however small the lead. Patience is about progress: it is used up
    by validations in a row that are not better by more than `min_delta` than the last one that was.
    """

    def __init__(self, *, mode: Literal["max", "min"], patience: int | None = None, min_delta: float = 0.0) -> None:
        """Start without a best value.

        Args:
            mode: whether larger (`max`) or smaller (`min`) is better.
            patience: validations without progress after which to stop, or None to go on to the end.
            min_delta: how much better a validation must be to count as progress, in the units of the metric.
        """
        self._sign = 1.0 if mode == "max" else -1.0
        self._patience = patience
        self._min_delta = min_delta
        self.best: float | None = None
        self._mark: float | None = None
        self._stale = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience is used up."""
        return self._patience is not None and self._stale >= self._patience

    def update(self, value: float) -> bool:
        """Take in one validation and return whether it is the best so far; a NaN never is."""
        if self._leads(value, self._mark, self._min_delta):
            self._mark, self._stale = value, 0
        else:
            self._stale += 1
        if not self._leads(value, self.best, 0.0):
            return False
        self.best = value
        return True

    def forgive(self) -> None:
        """Let patience begin anew; the best value so far stays."""
        self._mark, self._stale = None, 0

    def _leads(self, value: float, other: float | None, margin: float) -> bool:
        if math.isnan(value):
            return False
        return other is None or self._sign * (value - other) > margin

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {"best": self.best, "mark": self._mark, "stale": self._stale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.best, self._mark, self._stale = state["best"], state["mark"], state["stale"]
