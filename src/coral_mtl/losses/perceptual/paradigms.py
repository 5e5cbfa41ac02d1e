"""What moves when a perceptual distance is trained: `lin`, `tune` and `scratch`, with lpips' own recipe.

Parameters are called `backbone.*`, `linear.*` and `comparison.*` here; a model that calls them otherwise changes the
patterns.
"""

from dataclasses import dataclass, field
from typing import Literal

from coral_mtl.parameters.rules import Rule
from coral_mtl.schedules import Constant, Joined, Linear, Schedule

Paradigm = Literal["lin", "tune", "scratch"]

PARADIGMS: dict[Paradigm, tuple[Rule, ...]] = {
    "lin": (Rule("backbone.*", frozen=True),),
    "tune": (Rule("backbone.*", lr_factor=1.0),),
    "scratch": (Rule("backbone.*", lr_factor=1.0, reset=True),),
}
"""Rules by paradigm: pretrained and frozen, pretrained and trained, begun anew and trained."""


def _half_constant_half_falling() -> Schedule:
    return Joined(parts=[Constant(), Linear(start=1.0, end=0.0, length=1.0)], lengths=[0.5])


@dataclass(frozen=True, slots=True)
class Recipe:
    """How lpips' training script trains all three paradigms, read in its code (version 0.1.4).

    learning_rate: Adam's, of the linear weights, the comparison and, where it moves, the backbone.
    betas: Adam's.
    schedule: factor on the learning rate: constant for half of the epochs, then straight down to 0.
    dropout: before each linear layer.
    non_negative: the parameters that are projected to 0 or above after each step.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    batch_size: int = 50
    epochs: int = 10
    schedule: Schedule = field(default_factory=_half_constant_half_falling)
    dropout: float = 0.5
    non_negative: str = "linear.*"
