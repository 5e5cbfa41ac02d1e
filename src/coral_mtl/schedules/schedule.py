"""What a schedule is: a description that becomes a pure function of the step once the length of the run is known."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from coral_mtl.schedules.horizon import Horizon

Curve = Callable[[float], float]
"""A pure function of the optimiser step, counted from 0: the value for the update that is about to be made.

Curves are plain functions, so that torch's `LambdaLR` keeps none of them in a checkpoint: a resumed run needs the step
counter only, and follows whatever curve it is given.
"""


class Schedule(ABC):
    """A value over time, such as a factor on the learning rates, the weight of a term, or a penalty."""

    @abstractmethod
    def bind(self, run: Horizon) -> Curve:
        """Return the value as a function of the step; raise ConfigError where the schedule does not fit the run."""
