"""A moving average that is right from its first value on."""

import math
from collections.abc import Mapping
from typing import Any


class Average:
    """m <- beta m + (1 - beta) x from m = 0; the average after k values is m / (1 - beta^k).

    Values that are not finite are left out.
    """

    def __init__(self, beta: float) -> None:
        """Start empty; `beta` 0.98 remembers about 50 values."""
        self._beta = beta
        self._sum = 0.0
        self._count = 0

    def update(self, value: float) -> None:
        """Take in one value."""
        if math.isfinite(value):
            self._sum = self._beta * self._sum + (1.0 - self._beta) * value
            self._count += 1

    @property
    def value(self) -> float | None:
        """The average, None before the first value."""
        return self._sum / (1.0 - self._beta**self._count) if self._count else None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._sum, self._count = state["sum"], state["count"]
