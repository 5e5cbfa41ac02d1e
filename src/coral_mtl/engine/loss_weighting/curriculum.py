"""Terms that take one another's place over the run, by a named plan."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError
from coral_mtl.options import NonNegative, Positive
from coral_mtl.schedules import Constant, Horizon, Length, Schedule
from coral_mtl.schedules.curricula import Shape, cascade, crossfade

Plan = Literal["structure_boundary", "progressive_hybrid", "complexity_cascade"]
_COUNTS = {"structure_boundary": 2, "progressive_hybrid": 3}
_TIMES: dict[str, list[Length]] = {
    "structure_boundary": ["10 epochs", 1.0],
    "progressive_hybrid": ["30 epochs", "50 epochs"],
}


@registry.strategies.register
class Curriculum(Static):
    """Weights that lead from one term to the next, such as from Dice to focal loss to a boundary loss.

    `structure_boundary`: the first of two terms falls from `high` to `low`, the second rises. `progressive_hybrid` and
    `complexity_cascade`: the first term is alone; the others enter one after the other, from 0, and all end at 0.7, 0.8
    and 0.5 of `high` (see schedules/curricula.py). All weights are continuous in time.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        terms: Annotated[list[str], MinLen(1)],
        times: list[Length] | None = None,
        low: NonNegative = 0.1,
        high: Positive = 2.0,
        shape: Shape = "linear",
        normalise: bool = False,
    ) -> None:
        """Set the plan.

        Args:
            plan: structure_boundary (two terms), progressive_hybrid (three), or complexity_cascade (any number).
            terms: all terms, in the order in which they come.
            times: for structure_boundary, begin and end of the change (default `[10 epochs, 1.0]`); else when the
                second term enters, the third, ... (default `[30 epochs, 50 epochs]` for progressive_hybrid, and equal
                parts of the run for complexity_cascade).
            low: smallest weight of structure_boundary (default 0.1).
            high: largest weight (default 2.0).
            shape: how weights move, linear or cosine (default linear).
            normalise: divide the weights by their mean, so that their sum is always the number of terms; the size of
                the whole gradient then changes less (default false).
        """
        wanted = _COUNTS.get(plan, len(terms))
        if len(terms) != wanted:
            raise StrategyError(f"Curriculum: {plan} leads through {wanted} terms, not {len(terms)}", option="terms")
        given = times or _TIMES.get(plan) or [position / len(terms) for position in range(1, len(terms))]
        expected = 2 if plan == "structure_boundary" else len(terms) - 1
        if len(given) != expected:
            raise StrategyError(
                f"Curriculum: {plan} with {len(terms)} terms has {expected} times, not {len(given)}", option="times"
            )
        self.plan = plan
        self.terms = terms
        self.times = given
        self.low = low
        self.high = high
        self.shape: Shape = shape
        self.normalise = normalise
        super().__init__(weights=dict.fromkeys(terms, Constant()))  # until `begin` knows the times

    def unused_options(self) -> dict[str, str]:
        return {} if self.plan == "structure_boundary" else {"low": f"the terms of {self.plan} enter from 0"}

    def begin(self, run: Horizon) -> None:
        self.weights = dict(zip(self.terms, self._schedules(run), strict=True))
        super().begin(run)

    def weigh(self, observation: Observation) -> np.ndarray:
        weights = super().weigh(observation)
        if not self.normalise:
            return weights
        return weights * len(self.terms) / sum(self._weight(term, observation.step) for term in self.terms)

    def _schedules(self, run: Horizon) -> list[Schedule]:
        if self.plan == "structure_boundary":
            return crossfade(*self.times, low=self.low, high=self.high, shape=self.shape)
        return cascade(self.times, run, high=self.high, shape=self.shape)
