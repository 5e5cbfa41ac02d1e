"""Sections about named parameters: their learning rates, and terms and constraints on them that no strategy sees."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from coral_mtl import registry
from coral_mtl.config.bases import Section
from coral_mtl.kinds import KindForm
from coral_mtl.options import NonNegative
from coral_mtl.schedules import NonNegativeSchedule

Patterns = Annotated[list[str], Field(min_length=1)]
_PATTERNS = "Names of parameters such as `trunk.*`; `*` stands for any characters, dots included."


class ParameterRule(Section):
    """What happens to the parameters that a pattern matches; of rules that contradict each other the later one wins."""

    pattern: str = Field(description=_PATTERNS)
    lr_factor: NonNegative | None = Field(default=None, description="Factor on their learning rate.")
    weight_decay: NonNegative | None = Field(
        default=None, description="Their weight decay, biases included; null takes the optimiser's."
    )
    frozen: bool | None = Field(
        default=None,
        description="Not trained; modules of which all is frozen stay in evaluation mode. Null leaves it to earlier "
        "rules, or to the model.",
    )
    reset: bool | None = Field(
        default=None, description="Begun anew, by their modules' own `reset_parameters`, before training."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if {self.lr_factor, self.weight_decay, self.frozen, self.reset} == {None}:
            raise PydanticCustomError("rule", "a rule with nothing but a pattern has no effect")
        idle = [key for key in ("lr_factor", "weight_decay") if getattr(self, key) is not None]
        if self.frozen and idle:
            message = "{key} has no effect on what this rule freezes\nleave one of the two out"
            raise PydanticCustomError("rule", message, {"key": idle[0]})
        return self


class Regulariser(Section):
    """A price on parameters, added after the strategy so that no task bargains with it."""

    penalty: Annotated[Any, KindForm(registry.regularisers)] = Field(
        description="One kind with its options, such as `{l1: {weight: 1e-4}}`."
    )
    parameters: Patterns = Field(description=_PATTERNS)
    schedule: NonNegativeSchedule = Field(
        default=1.0, description="Factor on the price over time; at 0 nothing is computed."
    )
    apply: Literal["proximal", "term"] | None = Field(
        default=None,
        description="After each step, as the map that reaches exact zeros (`proximal`), or as a `term` of the loss; "
        "null takes the map where the kind has one.",
    )


class Constraint(Section):
    """A set that parameters stay in, each tensor by itself."""

    set: Annotated[Any, KindForm(registry.constraint_sets)] = Field(
        description="One kind with its options, such as `non_negative` or `{box: {low: 0, high: 1}}`."
    )
    parameters: Patterns = Field(description=_PATTERNS)
    mode: Annotated[Any, KindForm(registry.constraint_modes, complete=False)] = Field(
        default="projected", description="How they are kept there, such as `{augmented_lagrangian: {rho: 10}}`."
    )
