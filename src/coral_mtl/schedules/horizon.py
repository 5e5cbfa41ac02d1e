"""How long a run is, and lengths of time within it: `10 epochs`, `500 steps`, or 0.1 of the run."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from coral_mtl.errors import ConfigError

_LENGTH = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(epochs?|steps?|)\s*")


def settled(steps: float) -> float:
    """Return the whole number next to `steps` if only rounding errors lie between them, else `steps`.

    Without it the sum 10 + 10 * 1.1 misses step 21, and with it the start of a cycle.
    """
    nearest = round(steps)
    return float(nearest) if abs(steps - nearest) <= 1e-9 * max(1.0, abs(steps)) else steps


@dataclass(frozen=True, slots=True)
class Horizon:
    """The length of a run, or of a part of one.

    steps: optimiser steps of the whole run; step indices go from 0 to steps - 1.
    steps_per_epoch: optimiser steps of one epoch.

    Raises ConfigError unless both are above 0.
    """

    steps: float
    steps_per_epoch: float

    def __post_init__(self) -> None:
        if not (self.steps > 0 and self.steps_per_epoch > 0):
            raise ConfigError(
                f"a run of {self.steps:g} steps, {self.steps_per_epoch:g} to the epoch, has no time for a schedule"
                "\n    both numbers must be above 0"
            )

    def after(self, steps: float) -> "Horizon":
        """Return what is left of the run after its first `steps`."""
        return Horizon(self.steps - steps, self.steps_per_epoch)


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time that becomes a number of steps once the run is known."""

    amount: float
    unit: Literal["epoch", "step", "run"]

    def steps(self, run: Horizon) -> float:
        """Return the length in optimiser steps, not necessarily a whole number."""
        unit = {"epoch": run.steps_per_epoch, "step": 1.0, "run": run.steps}[self.unit]
        return settled(self.amount * unit)

    def __str__(self) -> str:
        return f"{self.amount:g} of the run" if self.unit == "run" else f"{self.amount:g} {self.unit}s"


def duration(length: float | str) -> Duration:
    """Read a length of time; raise ConfigError where it is neither a number with a unit nor a share of the run."""
    match = _LENGTH.fullmatch(length if isinstance(length, str) else repr(float(length)))
    if match and match[2]:
        return Duration(float(match[1]), "epoch" if match[2].startswith("epoch") else "step")
    if match and float(match[1]) <= 1.0:
        return Duration(float(match[1]), "run")
    raise ConfigError(
        f"{length!r} is not a length of time"
        '\n    write "10 epochs", "500 steps", or a number from 0 to 1: that share of the run'
    )


def _checked(length: float | str) -> float | str:
    try:
        duration(length)
    except ConfigError as error:
        raise PydanticCustomError("length", "{message}", {"message": str(error)}) from None
    return length


Length = Annotated[float | str, AfterValidator(_checked)]
"""A length of time as a user writes it: `10 epochs`, `500 steps`, or a bare number from 0 to 1, a share of the run."""


def positive_duration(what: str, length: Length) -> Duration:
    """Read a length of time above 0, or raise ConfigError about `what`."""
    read = duration(length)
    if read.amount == 0.0:
        raise ConfigError(f"{what} of {read} never passes\n    make it longer than 0")
    return read
