"""Random loss weighting (RLW)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Needs, Observation, Promises
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.options import NonNegativeInt


@registry.strategies.register
class Random(LossWeighting):
    """Weights drawn anew at every step, a baseline that any adaptive method should beat.

    w = softmax(z), z ~ N(0, I_T) over the tasks of the step; sum w = 1 and E[w_t] = 1/T.
    """

    needs = Needs.NOTHING
    convention = "mean"
    paper = "Lin, Ye, Zhang, Tsang: Reasonable Effectiveness of Random Weighting (TMLR 2022)"

    def __init__(self, *, seed: NonNegativeInt = 0) -> None:
        """Seed the draws.

        Args:
            seed: seed of the strategy's own generator, which nothing else draws from (default 0).
        """
        self.seed = seed
        self._generator = SeededGenerator(seed)

    @property
    def promises(self) -> Promises:
        return Promises(simplex=True, permutation=False)

    def weigh(self, observation: Observation) -> np.ndarray:
        return softmax(self._generator.normal(len(observation.tasks)))

    def reset(self) -> None:
        self._generator.reset()

    def state_dict(self) -> State:
        return self._generator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._generator.load_state_dict(state)
