"""The section `study`: which settings `coral-mtl study` searches through, how, and by which figures."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from coral_mtl.config.bases import Section
from coral_mtl.options import NonNegativeInt, Positive, PositiveInt


class FloatRange(Section):
    """Numbers from `low` to `high`."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = Field(default=False, description="Whether factors count and not differences.")
    step: Positive | None = Field(default=None, description="Distance of the values; null takes any.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step is not None:
            raise PydanticCustomError("log_step", "log and step exclude each other")
        return self


class IntRange(Section):
    """Whole numbers from `low` to `high`."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = Field(default=False, description="Whether factors count and not differences.")
    step: PositiveInt = Field(default=1, description="Distance of the values.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise PydanticCustomError("log_step", "log and step exclude each other")
        return self


class Choices(Section):
    """One of some values."""

    type: Literal["categorical"]
    choices: Annotated[list[bool | int | float | str | None], Field(min_length=1)]


Range = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


class Objective(Section):
    """A figure to make better; with several of them a study looks for the trade-offs between them."""

    metric: str = Field(description="Validation metric, such as `tasks.<task>.accuracy`.")
    mode: Literal["max", "min"] = Field(default="max", description="Whether larger or smaller values are better.")


class Pruner(Section):
    """Stops a trial that is worse at a validation than the median of the trials before it; for one objective."""

    startup_trials: NonNegativeInt = Field(default=5, description="Trials that are never stopped, at the beginning.")
    warmup_epochs: NonNegativeInt = Field(default=1, description="Epochs at which no trial is stopped.")


class Study(Section):
    """A search through configurations (`coral-mtl study`); any other command refuses a file that has this section."""

    space: Annotated[dict[str, Range], Field(min_length=1)] = Field(
        description="What to vary, by dotted key: `{type: float, low: 1e-4, high: 1e-2, log: true}` (or `step:`), "
        "`{type: int, low: 1, high: 8, step: 1}` (or `log:`), or `{type: categorical, choices: [...]}`."
    )
    n_trials: PositiveInt = Field(default=20, description="Trials in all, those of a study that is resumed included.")
    seed: NonNegativeInt = Field(default=0, description="Seed of the search; the runs have the seed of the file.")
    objectives: list[Objective] = Field(
        default_factory=list,
        description="What to make better; none: `trainer.model_selection_metric`. A trial counts with its best "
        "validation by that metric.",
    )
    pruner: Pruner | None = Field(default=None, description="When to stop a trial early; null never does.")

    @model_validator(mode="after")
    def _one_objective_to_prune_by(self) -> Self:
        if self.pruner is not None and len(self.objectives) > 1:
            raise PydanticCustomError("pruner", "a pruner needs a single objective: which of several would it go by?")
        return self


def _check_range(low: float, high: float, *, log: bool) -> None:
    if low >= high:
        raise PydanticCustomError("range", "low must be below high")
    if log and low <= 0:
        raise PydanticCustomError("range", "on a logarithmic scale low must be above 0")
