"""Schedules as they are written in YAML: a number, a preset's name, or one kind with its options.

    0.5                                                     always this value
    warm_restarts                                           a preset (see named.py)
    {cosine: {start: 0.9, end: 0.2}}                        a kind, and its options
    {warmup: {length: 10 epochs, then: {cosine: {start: 1, end: 0}}}}
    {joined: {parts: [1.0, {linear: {start: 1, end: 0, length: 1.0}}], lengths: [0.5]}}

Lengths of time are `10 epochs`, `500 steps` or a share of the run such as 0.1. An option of a class that takes a
schedule is annotated `AnySchedule`, `NonNegativeSchedule` or `PositiveSchedule`, and its value becomes a function of
the step with `curve_of` or, where values must not be negative, `bounded_curve`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import GetJsonSchemaHandler, ValidationInfo
from pydantic_core import PydanticKnownError, core_schema

from coral_mtl import registry
from coral_mtl.errors import ConfigError
from coral_mtl.kinds import KindForm, build_kind
from coral_mtl.registry import Registry
from coral_mtl.schedules.horizon import Horizon
from coral_mtl.schedules.named import PRESETS
from coral_mtl.schedules.schedule import Curve, Schedule

_LOOKS = 100_000

Written = float | str | Mapping[str, Any] | Schedule
"""A schedule, or one as written."""


@dataclass(frozen=True)
class ScheduleForm(KindForm):
    """Annotation of an option that takes a schedule; `bound` limits a plain number, and so every value of the curve."""

    registry: Registry = field(default_factory=lambda: registry.schedules)
    bound: Ge | Gt | None = None

    def names(self) -> Sequence[str]:
        return list(PRESETS)

    def validated(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Schedule):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_number(value)
            return value
        return super().validated(value, info)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        limits = {Ge: "minimum", Gt: "exclusiveMinimum"}
        limit = {limits[type(self.bound)]: _limit(self.bound)} if self.bound else {}
        return {"anyOf": [{"type": "number", **limit}, super().__get_pydantic_json_schema__(schema, handler)]}

    def _check_number(self, value: float) -> None:
        if not math.isfinite(value):
            raise PydanticKnownError("finite_number")
        if isinstance(self.bound, Ge) and not value >= _limit(self.bound):
            raise PydanticKnownError("greater_than_equal", {"ge": _limit(self.bound)})
        if isinstance(self.bound, Gt) and not value > _limit(self.bound):
            raise PydanticKnownError("greater_than", {"gt": _limit(self.bound)})


AnySchedule = Annotated[Written, ScheduleForm()]
NonNegativeSchedule = Annotated[Written, ScheduleForm(bound=Ge(0))]
PositiveSchedule = Annotated[Written, ScheduleForm(bound=Gt(0))]


def schedule_of(written: Written) -> Schedule:
    """Return the schedule that was written.

    Raises:
        ConfigError: it is none, or its options are wrong.
    """
    if isinstance(written, Schedule):
        return written
    if isinstance(written, int | float):
        return registry.schedules.get("Constant")(value=float(written))
    if isinstance(written, str) and written in PRESETS:
        written = PRESETS[written].schedule
    return build_kind(registry.schedules, written)


def curve_of(written: Written, run: Horizon) -> Curve:
    """Return a schedule, or one as written, as a function of the step.

    Raises:
        ConfigError: it is no schedule, or does not fit the run.
    """
    return schedule_of(written).bind(run)


def bounded_curve(
    what: str, written: Written, run: Horizon, *, positive: bool = False, at_most: float = math.inf
) -> Curve:
    """Return the curve of `what`, whose values in the run are finite, at least 0 (or above 0), and at most `at_most`.

    Every step is looked at, of a very long run 100,000 of them.

    Raises:
        ConfigError: a value is not.
    """
    curve, steps = curve_of(written, run), math.ceil(run.steps)
    for step in sorted({*range(0, steps, max(1, steps // _LOOKS)), steps - 1}):
        value = curve(step)
        if not (math.isfinite(value) and 0.0 <= value <= at_most) or (positive and value == 0.0):
            wanted = "above 0" if positive else "0 or above" if at_most == math.inf else f"from 0 to {at_most:g}"
            raise ConfigError(f"{what} is {value:g} at step {step}, and must be {wanted} all through the run")
    return curve


def _limit(bound: Ge | Gt) -> float:
    return bound.ge if isinstance(bound, Ge) else bound.gt  # type: ignore[return-value]
