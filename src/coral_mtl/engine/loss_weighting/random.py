"""Random loss weighting (RLW)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Needs, Observation, Promises
from coral_mtl.engine.strategy import LossWeighting, Memory, State
from coral_mtl.options import NonNegativeInt


@registry.strategies.register
class Random(LossWeighting):
    """Weights drawn anew at every step, a baseline that any adaptive method should beat.

    w = softmax(z), z ~ N(0, I_T) over the tasks of the run; sum w = 1 and E[w_t] = 1/T. A task that is absent from a
    step keeps its share. Without `bind` the tasks are those seen so far.
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
        self._tasks: list[str] = []

    @property
    def promises(self) -> Promises:
        return Promises(simplex=True, permutation=False)

    def bind(self, tasks: Sequence[str]) -> None:
        self._tasks = list(tasks)

    def weigh(self, observation: Observation) -> np.ndarray:
        self._tasks += [task for task in observation.tasks if task not in self._tasks]
        shares = softmax(self._generator.normal(len(self._tasks)))
        return shares[[self._tasks.index(task) for task in observation.tasks]]

    def memories(self) -> dict[str, Memory]:
        return {"generator": self._generator}

    def reset(self) -> None:
        super().reset()
        self._tasks = []

    def state_dict(self) -> State:
        return super().state_dict() | {"tasks": list(self._tasks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._tasks = list(state["tasks"])
