"""Sections about the course of a run: what changes at some time, or where a metric stops getting better."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from coral_mtl.config.bases import Section
from coral_mtl.options import NonNegative, NonNegativeInt, OpenFraction, Positive, PositiveInt
from coral_mtl.schedules import Length


class EarlyStopping(Section):
    """When to stop before the last epoch."""

    patience: PositiveInt = Field(default=5, description="Stop after this many validations in a row without progress.")
    min_delta: NonNegative = Field(
        default=0.0,
        description="Progress is to be better by more than this than the last progress, in metric units; the best "
        "checkpoint is the best validation, however small its lead.",
    )


class Plateau(Section):
    """Lower learning rates where `trainer.model_selection_metric` stops getting better."""

    factor: OpenFraction = Field(default=0.5, description="Multiply all learning rates by this.")
    patience: PositiveInt = Field(default=3, description="After this many validations in a row without progress.")
    min_delta: NonNegative = Field(
        default=0.0, description="Progress is to be better by more than this than the last progress, in metric units."
    )
    cooldown: NonNegativeInt = Field(default=0, description="Validations after a reduction that count for nothing.")
    min_factor: NonNegative = Field(default=0.0, description="The product of all reductions stays at this or above.")


class Rollback(Section):
    """Undo divergence: go back to the stage's best weights, with an empty optimiser and lower learning rates."""

    margin: NonNegative = Field(
        description="When a validation is worse than the stage's best by more than this, in metric units, or is NaN."
    )
    lr_factor: OpenFraction = Field(default=0.5, description="Multiply all learning rates by this, from there on.")
    at_most: PositiveInt = Field(default=3, description="So many times in a stage.")


class Stage(Section):
    """What happens at one time of a run; `rollback` holds from then until the next stage begins."""

    begin: Length = Field(description="When: `10 epochs`, `500 steps`, or a share of the run such as 0.7.")
    reset_optimizer: bool = Field(
        default=False, description="Forget the optimiser's averages, which remember another loss for long."
    )
    restore_best: bool = Field(
        default=False, description="Go back to the weights of the best validation since the stage before began."
    )
    lr_factor: Positive = Field(default=1.0, description="Multiply all learning rates by this, from here on.")
    rewarm: Length | None = Field(
        default=None, description="Let learning rates rise from 0 for so long; null goes on as the schedule says."
    )
    rollback: Rollback | None = Field(default=None, description="How divergence is undone; null lets it be.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.reset_optimizer or self.restore_best or self.rewarm or self.rollback or self.lr_factor != 1.0):
            raise PydanticCustomError("stage", "a stage with nothing but a beginning has no effect")
        return self
