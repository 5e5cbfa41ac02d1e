"""Random loss weighting (RLW)."""

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Needs, Observation, Promises
from coral_mtl.engine.strategy import LossWeighting, Memory
from coral_mtl.options import NonNegativeInt


@registry.strategies.register
class Random(LossWeighting):
    """Weights drawn anew at every step, a baseline that any adaptive method should beat.

    w = softmax(z), z ~ N(0, I_T) over the tasks of the step; sum w = 1 and E[w_t] = 1/T.
    """

    needs = Needs.NOTHING
    convention = "mean"
    paper = "Lin, Ye, Zhang, Tsang: Reasonable Effectiveness of Random Weighting (TMLR 2022)"

    def __init__(self, *, seed: NonNegativeInt | None = None) -> None:
        """Seed the draws.

        Args:
            seed: seed of the strategy's own generator, which nothing else draws from (default: the seed of the run,
                and 0 without one).
        """
        self.seed = seed
        self._generator = SeededGenerator(seed)

    @property
    def promises(self) -> Promises:
        return Promises(simplex=True, permutation=False)

    def weigh(self, observation: Observation) -> np.ndarray:
        return softmax(self._generator.normal(len(observation.tasks)))

    def memories(self) -> dict[str, Memory]:
        return {"generator": self._generator}
