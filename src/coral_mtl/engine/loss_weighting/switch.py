"""Weights that change where a ratio of gradients, or a validation metric, passes a threshold."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Le, MinLen

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_known_tasks, require_same_tasks
from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.errors import StrategyError
from coral_mtl.options import NonNegative, NonNegativeInt, PositiveInt, ProperFraction
from coral_mtl.schedules.controllers import Average, Regimes

_LOG_STEP = math.log(1.25)


@registry.strategies.register
class Switch(LossWeighting):
    """One set of weights below the first threshold, another between the first and the second, and so on.

    With `ratio: [a, b]` the figure is |g_a| / |g_b|, averaged in the log; thresholds and hysteresis are in the log too.
    With `metric` it is that validation metric, as measured. Weights go from one set to the next by `ease` of the
    distance at every step. A ratio with g_b = 0 alone is above all thresholds, one with g_a = 0 alone below; without
    both, or with one of them absent, everything stays as it is.

    Records `switch_regime`, from 0, and `gradient_ratio`, the averaged one.
    """

    needs = Needs.GRAM
    convention = "own"
    steady = "always"

    def __init__(
        self,
        *,
        weights: Annotated[list[dict[str, NonNegative]], MinLen(2)],
        ratio: tuple[str, str] | None = None,
        metric: str | None = None,
        thresholds: list[float] | None = None,
        hysteresis: NonNegative | None = None,
        dwell: NonNegativeInt | None = None,
        ease: Annotated[float, Gt(0), Le(1)] = 0.05,
        beta: ProperFraction = 0.98,
        at: Literal["prediction", "parameters"] = "parameters",
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set what is followed, and the weights.

        Args:
            weights: by regime, from low to high figures, the weight of every task.
            ratio: two tasks, the norms of whose gradients are compared, `[a, b]`.
            metric: validation metric to follow instead, such as `tasks.left.accuracy`.
            thresholds: figures between the regimes, increasing, one fewer than weights (default `[0.5, 2.0]` for a
                ratio; a metric has none).
            hysteresis: by how much a threshold must be passed, either way, before weights change: in the log for a
                ratio (default log 1.25), in units of a metric (default 0).
            dwell: figures between two changes at least (default 50 steps for a ratio, 0 validations for a metric).
            ease: share of the way to the new weights at every step; 1 jumps (default 0.05).
            beta: decay of the average of the log ratio; 0.98 remembers about 50 steps (default 0.98).
            at: where gradients are taken: of the shared `parameters`, one backward per task, or at the `prediction`,
                which costs the losses' own backward passes alone (default parameters).
            update_frequency: look at the ratio once in this many optimiser steps (default 1, every step).
        """
        if (ratio is None) == (metric is None):
            raise StrategyError("Switch: give a ratio of two tasks' gradients or a metric to follow, one of the two")
        if thresholds is None and ratio is None:
            raise StrategyError("Switch: a metric has no thresholds of its own: give thresholds", option="thresholds")
        limits = [0.5, 2.0] if thresholds is None else thresholds
        if len(limits) != len(weights) - 1 or any(high <= low for low, high in pairwise(limits)):
            raise StrategyError(
                f"Switch: {len(weights)} sets of weights have {len(weights) - 1} increasing thresholds between them, "
                f"not {limits}",
                option="thresholds",
            )
        if ratio is not None and limits[0] <= 0.0:
            raise StrategyError("Switch: a ratio is above 0, and so are its thresholds", option="thresholds")
        self.weights = weights
        self.ratio = ratio
        self.metric = metric
        self.ease = ease
        self.update_frequency = update_frequency
        self._looks = Needs.NOTHING if ratio is None else Needs.LOSSES if at == "prediction" else Needs.GRAM
        self.needs = self._looks
        self.wants_predictions = at == "prediction" and ratio is not None
        self._limits = limits if ratio is None else [math.log(limit) for limit in limits]
        self._hysteresis = (0.0 if ratio is None else _LOG_STEP) if hysteresis is None else hysteresis
        self._dwell = (0 if ratio is None else 50) if dwell is None else dwell
        self._beta = beta
        self._eased: dict[str, float]
        self.reset()

    def unused_options(self) -> dict[str, str]:
        reason = "it is about a ratio, and a metric is followed"
        return {} if self.metric is None else dict.fromkeys(("beta", "at", "update_frequency"), reason)

    def bind(self, tasks: Sequence[str]) -> None:
        for regime in self.weights:
            require_same_tasks("Switch: weights", regime, tasks)
        require_known_tasks("Switch: ratio", tasks, self.ratio or ())

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return self._looks if self._due(tasks) else Needs.NOTHING

    def decide(self, observation: Observation) -> Decision:
        if self._due(observation.tasks):
            self._follow(observation)
        self._steps += 1
        return super().decide(observation)

    def weigh(self, observation: Observation) -> np.ndarray:
        target = self.weights[self._regimes.current]
        eased = self._eased or target
        self._eased = {task: eased[task] + self.ease * (target[task] - eased[task]) for task in target}
        return np.array([self._eased[task] for task in observation.tasks])

    def records(self, observation: Observation) -> dict[str, Any]:
        average = self._average.value
        ratio = {} if average is None else {"gradient_ratio": math.exp(average)}
        return {"switch_regime": self._regimes.current, **ratio}

    def observe_validation(self, metrics: Mapping[str, float]) -> None:
        if self.metric is not None:
            self._regimes.update(metrics[self.metric])

    def idle_tasks(self, step: int) -> frozenset[str]:
        """Tasks of weight 0 now and in the regime that weights move to, where a metric decides between validations."""
        if self.metric is None:
            return frozenset()
        target = self.weights[self._regimes.current]
        return frozenset(task for task, weight in (self._eased or target).items() if weight == target[task] == 0.0)

    def _due(self, tasks: Sequence[str]) -> bool:
        return self.ratio is not None and self._steps % self.update_frequency == 0 and set(self.ratio) <= set(tasks)

    def _follow(self, observation: Observation) -> None:
        norms = observation.require_prediction_norms() if self.wants_predictions else observation.norms
        above, below = (float(norms[observation.tasks.index(task)]) for task in self.ratio or ())
        if above == below == 0.0:
            return
        if above > 0.0 and below > 0.0:
            self._average.update(math.log(above) - math.log(below))
            self._regimes.update(math.nan if self._average.value is None else self._average.value)
        else:
            self._regimes.update(math.inf if below == 0.0 else -math.inf)

    def reset(self) -> None:
        self._steps = 0
        self._average = Average(self._beta)
        self._regimes = Regimes(self._limits, hysteresis=self._hysteresis, dwell=self._dwell)
        self._eased = {}

    def state_dict(self) -> State:
        return {
            "steps": self._steps,
            "average": self._average.state_dict(),
            "regimes": self._regimes.state_dict(),
            "eased": dict(self._eased),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        self._average.load_state_dict(state["average"])
        self._regimes.load_state_dict(state["regimes"])
        self._eased = dict(state["eased"])
