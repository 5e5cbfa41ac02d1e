"""Which of several regimes a noisy figure is in, without going back and forth at every wobble."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class Regimes:
    """Regime k lies between threshold k - 1 and threshold k; regime 0 is below all of them.

    A higher regime is entered where the figure reaches its lower threshold plus the hysteresis, and left where the
    figure is below that threshold minus it. At least `dwell` figures come between two changes. The first figure is
    judged by the bare thresholds; a NaN changes nothing.
    """

    def __init__(self, thresholds: Sequence[float], *, hysteresis: float, dwell: int) -> None:
        """Start below all thresholds, which increase."""
        self._thresholds = list(thresholds)
        self._hysteresis = hysteresis
        self._dwell = dwell
        self.current = 0
        self._figures = 0
        self._since_change = 0

    def update(self, figure: float) -> int:
        """Take in one figure, which may be infinite, and return the regime."""
        if math.isnan(figure):
            return self.current
        self._since_change += 1
        if self._figures == 0:
            self.current = sum(figure >= threshold for threshold in self._thresholds)
        elif self._since_change > self._dwell:
            found = self._moved(figure)
            self._since_change = 0 if found != self.current else self._since_change
            self.current = found
        self._figures += 1
        return self.current

    def _moved(self, figure: float) -> int:
        regime = self.current
        while regime < len(self._thresholds) and figure >= self._thresholds[regime] + self._hysteresis:
            regime += 1
        while regime > 0 and figure < self._thresholds[regime - 1] - self._hysteresis:
            regime -= 1
        return regime

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"current": self.current, "figures": self._figures, "since_change": self._since_change}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.current, self._figures = state["current"], state["figures"]
        self._since_change = state["since_change"]
