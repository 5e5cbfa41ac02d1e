"""FAMO: weights that decrease all losses at an equal rate, from loss values alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.checks import require_nonnegative
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Observation, Promises
from coral_mtl.engine.strategy import LossWeighting, State
from coral_mtl.errors import StrategyError
from coral_mtl.options import NonNegative, Positive

EPSILON = 1e-8
BETAS = 0.9, 0.999


@registry.strategies.register
class FAMO(LossWeighting):
    """Weights from logits xi that rise for the tasks whose losses fell least, at the cost of loss values alone.

    With z = softmax(xi) and D_t = l_t + 1e-8: w_t = c z_t / D_t, c = 1 / sum_t (z_t / D_t), so sum w = 1. After the
    step, delta_t = log D_t(before) - log D_t(after), and Adam with weight decay `gamma` moves xi down along
    J_softmax(z)' delta = z * (delta - <z, delta>): a task that improved more gets a lower logit.

    A task that is absent from a batch keeps its logit and moments. Negative losses are a StrategyError.
    """

    convention = "mean"
    paper = "Liu, Feng, Stone, Liu: FAMO, Fast Adaptive Multitask Optimization (NeurIPS 2023), algorithm 1"

    def __init__(
        self,
        *,
        lr: Positive = 0.025,
        gamma: NonNegative = 1e-3,
        losses_after: Literal["forward", "next"] = "next",
    ) -> None:
        """Set the pace of the logits and where the losses after a step come from.

        Args:
            lr: learning rate of the logits (default 0.025).
            gamma: weight decay of the logits, which pulls towards equal z (default 0.001).
            losses_after: `forward`, as published: the same batch is run again after the step, told through
                `engine.observe_after(losses)`; `next`: the next batch stands in for it, at no cost (default next).
        """
        self.lr = lr
        self.gamma = gamma
        self.losses_after = losses_after
        self.wants_losses_after = losses_after == "forward"
        self.reset()

    @property
    def promises(self) -> Promises:
        return Promises(simplex=True)

    def reset(self) -> None:
        self._told: bool = True
        self._before: dict[str, float] = {}
        self._logits: dict[str, float] = {}
        self._moments: dict[str, list[float]] = {}
        self._updates: dict[str, int] = {}

    def weigh(self, observation: Observation) -> np.ndarray:
        distances = require_nonnegative("FAMO", observation) + EPSILON
        if not self.wants_losses_after:
            self._learn(observation.tasks, distances)
        elif not self._told:
            raise StrategyError(
                "FAMO(losses_after='forward') was not told the losses after its last step\n"
                "    run the batch again after optimizer.step() and call engine.observe_after(losses), or take "
                "losses_after='next'"
            )
        self._told = not self.wants_losses_after
        self._before |= dict(zip(observation.tasks, distances.tolist(), strict=True))
        shares = softmax(self._logits_of(observation.tasks)) / distances
        return shares / shares.sum()

    def observe_after(self, observation: Observation) -> None:
        """Take in the losses of the same batch after the step."""
        self._told = True
        self._learn(observation.tasks, require_nonnegative("FAMO", observation) + EPSILON)

    def records(self, observation: Observation) -> dict[str, Any]:
        return {"famo_logits": dict(zip(observation.tasks, self._logits_of(observation.tasks).tolist(), strict=True))}

    def state_dict(self) -> State:
        return {
            "told": self._told,
            "before": dict(self._before),
            "logits": dict(self._logits),
            "moments": {task: list(moments) for task, moments in self._moments.items()},
            "updates": dict(self._updates),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._told = state["told"]
        self._before = dict(state["before"])
        self._logits = dict(state["logits"])
        self._moments = {task: list(moments) for task, moments in state["moments"].items()}
        self._updates = dict(state["updates"])

    def _learn(self, tasks: Sequence[str], after: np.ndarray) -> None:
        """Move the logits of the tasks whose losses are known before and after a step."""
        known = np.array([task in self._before for task in tasks])
        if not known.any():
            return
        names = [task for task in tasks if task in self._before]
        delta = np.log([self._before[task] for task in names]) - np.log(after[known])
        shares = softmax(self._logits_of(names))
        for task, gradient in zip(names, (shares * (delta - shares @ delta)).tolist(), strict=True):
            self._adam_step(task, gradient)

    def _adam_step(self, task: str, gradient: float) -> None:
        logit = self._logits.get(task, 0.0)
        gradient += self.gamma * logit
        first, second = self._moments.get(task, [0.0, 0.0])
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        count = self._updates.get(task, 0) + 1
        step = first / (1 - BETAS[0] ** count) / (np.sqrt(second / (1 - BETAS[1] ** count)) + EPSILON)
        self._logits[task] = logit - self.lr * float(step)
        self._moments[task], self._updates[task] = [first, second], count

    def _logits_of(self, tasks: Sequence[str]) -> np.ndarray:
        return np.array([self._logits.get(task, 0.0) for task in tasks])
