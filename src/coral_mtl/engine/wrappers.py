"""Wrappers that work with any strategy: averaged coefficients, and a limit to the length of the direction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from coral_mtl.engine.composed import Composed
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import State, Strategy
from coral_mtl.errors import StrategyError
from coral_mtl.options import Positive, ProperFraction, checked


class Wrapper(Composed):
    """A strategy around another one, `strategy`, which it changes nothing about except the decision."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__({"strategy": strategy})
        self.strategy = strategy
        self.kind = strategy.kind
        self.convention = strategy.convention

    @property
    def promises(self) -> Promises:
        return self.strategy.promises


@partial(checked, error=StrategyError)
class WeightAveraging(Wrapper):
    """A strategy with its coefficients averaged over the steps, which takes out much of their noise (CR-MOGM).

    c_t <- momentum c_t + (1 - momentum) c'_t, with c' the strategy's own coefficients, starting from the first ones;
    loss weights on task-specific parameters likewise. A task that is absent keeps its average.

    What the strategy promises about the direction of a single step is lost: averaged coefficients belong to several.

    Raises StrategyError for a strategy whose direction is no combination of the gradients, and has no coefficients.
    """

    paper = (
        "Zhou et al.: On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond (NeurIPS 2022)"
    )

    def __init__(self, strategy: Strategy, *, momentum: ProperFraction = 0.9) -> None:
        """Wrap `strategy`.

        Args:
            momentum: share of the average so far in the new one, from 0 to below 1 (default 0.9).
        """
        super().__init__(strategy)
        if not strategy.promises.combination:
            raise _no_coefficients(strategy)
        self.momentum = momentum
        self._shared: dict[str, float] = {}
        self._heads: dict[str, float] = {}

    @property
    def promises(self) -> Promises:
        return replace(self.strategy.promises, non_conflicting=False, descends_mean=False)

    def idle_tasks(self, step: int) -> frozenset[str]:
        """Those of the strategy whose average is 0, too."""
        averages = self._shared, self._heads
        return frozenset(t for t in self.strategy.idle_tasks(step) if not any(own.get(t) for own in averages))

    def decide(self, observation: Observation) -> Decision:
        decision = self.strategy.decide(observation)
        if decision.direction is not None:
            raise _no_coefficients(self.strategy)
        for task in self.strategy.idle_tasks(observation.step):  # which are not shown where they are idle here, too
            self._shared.setdefault(task, 0.0)
            self._heads.setdefault(task, 0.0)
        coefficients = self._average(self._shared, observation.tasks, decision.coefficients)
        heads = decision.head_coefficients
        if heads is not None:
            heads = self._average(self._heads, observation.tasks, heads)
        return replace(decision, coefficients=coefficients, head_coefficients=heads)

    def reset(self) -> None:
        super().reset()
        self._shared, self._heads = {}, {}

    def state_dict(self) -> State:
        return super().state_dict() | {"shared": dict(self._shared), "heads": dict(self._heads)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._shared, self._heads = dict(state["shared"]), dict(state["heads"])

    def _average(self, averages: dict[str, float], tasks: Sequence[str], latest: np.ndarray) -> np.ndarray:
        for task, value in zip(tasks, latest.tolist(), strict=True):
            averages[task] = self.momentum * averages.get(task, value) + (1.0 - self.momentum) * value
        return np.array([averages[task] for task in tasks])


@partial(checked, error=StrategyError)
class ClippedDirection(Wrapper):
    """A strategy with its shared direction shortened to a certain length where it is longer.

    d <- d min(1, max_norm / |d|), with |d|^2 = c'Mc from the Gram matrix: free where the strategy needs that matrix,
    and one backward per task where it does not. Task-specific parameters are left alone. Steps that reuse coefficients
    use the factor of the last refresh, too.

    Records `clip_factor`, the factor on d.
    """

    def __init__(self, strategy: Strategy, *, max_norm: Positive) -> None:
        """Wrap `strategy`.

        Args:
            max_norm: longest shared direction |d|.
        """
        super().__init__(strategy)
        self.max_norm = max_norm
        self.needs = max(strategy.needs, Needs.GRAM)
        self._factor = 1.0

    @property
    def promises(self) -> Promises:
        return replace(self.strategy.promises, simplex=False)

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        """What the strategy needs, and the Gram matrix except where coefficients are reused."""
        now = self.strategy.needs_now(tasks)
        return now if now < Needs.GRAM <= self.strategy.needs else max(now, Needs.GRAM)

    def decide(self, observation: Observation) -> Decision:
        due = self.needs_now(observation.tasks) >= Needs.GRAM
        decision = self.strategy.decide(observation)
        if due:
            self._factor = self.max_norm / max(_length(decision, observation), self.max_norm)
        direction = decision.direction
        return replace(
            decision,
            coefficients=self._factor * decision.coefficients,
            direction=None if direction is None else [self._factor * part for part in direction],
            records=decision.records | {"clip_factor": self._factor},
        )

    def reset(self) -> None:
        super().reset()
        self._factor = 1.0

    def state_dict(self) -> State:
        return super().state_dict() | {"factor": self._factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._factor = state["factor"]


def _no_coefficients(strategy: Strategy) -> StrategyError:
    return StrategyError(
        f"the direction of {type(strategy).__name__} is no combination of the gradients: there are no coefficients to "
        "average\n    use it without WeightAveraging"
    )


def _length(decision: Decision, observation: Observation) -> float:
    """|d| on the shared parameters."""
    if decision.direction is not None:
        return math.sqrt(sum(float(part.double().square().sum()) for part in decision.direction))
    coefficients = decision.coefficients
    return math.sqrt(max(float(coefficients @ observation.require_gram() @ coefficients), 0.0))
