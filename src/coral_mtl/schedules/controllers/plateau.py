"""Lower learning rates where a metric stops getting better."""

import math
from collections.abc import Mapping
from typing import Any, Literal


class Plateau:
    """A factor on the learning rates that falls by `factor` after `patience` validations in a row without progress.

    Progress is to be better by more than `min_delta` than the last progress was; a NaN never is. As torch's
    ReduceLROnPlateau with `threshold_mode="abs"` and a patience smaller by one, and without its clock of epochs.
    """

    def __init__(
        self,
        *,
        mode: Literal["max", "min"],
        factor: float,
        patience: int,
        min_delta: float = 0.0,
        cooldown: int = 0,
        min_factor: float = 0.0,
    ) -> None:
        """Start at 1.

        Args:
            mode: whether larger (`max`) or smaller (`min`) values are better.
            factor: what a reduction multiplies with, below 1.
            patience: validations in a row without progress before a reduction.
            min_delta: lead that counts as progress, in units of the metric (default 0.0).
            cooldown: validations after a reduction that count for nothing (default 0).
            min_factor: the factor stays at this or above (default 0.0).
        """
        self._sign = 1.0 if mode == "max" else -1.0
        self._step = factor
        self._patience = patience
        self._min_delta = min_delta
        self._cooldown = cooldown
        self._min_factor = min_factor
        self.factor = 1.0
        self._mark: float | None = None
        self._stale = 0
        self._resting = 0

    def update(self, value: float) -> bool:
        """Take in one validation and return whether the factor fell."""
        if self._is_progress(value):
            self._mark, self._stale = value, 0
        else:
            self._stale += 1
        if self._resting:
            self._resting -= 1
            self._stale = 0
        if self._stale < self._patience:
            return False
        self._stale, self._resting = 0, self._cooldown
        before, self.factor = self.factor, max(self._min_factor, self.factor * self._step)
        return self.factor < before

    def forget(self) -> None:
        """Let patience begin anew, with a metric that has other values; the factor stays."""
        self._mark, self._stale = None, 0

    def _is_progress(self, value: float) -> bool:
        if math.isnan(value):
            return False
        return self._mark is None or self._sign * (value - self._mark) > self._min_delta

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"factor": self.factor, "mark": self._mark, "stale": self._stale, "resting": self._resting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.factor, self._mark = state["factor"], state["mark"]
        self._stale, self._resting = state["stale"], state["resting"]
