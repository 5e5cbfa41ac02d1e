"""The contract between the engine and every balancing method: an observation goes in, coefficients come out.

A strategy answers one question a step: with which coefficients c do I add the tasks' gradients, d = sum_t c_t g_t?
What it may look at is its `needs`; the engine computes no more than that.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.options import PositiveInt
from coral_mtl.schedules import Horizon

State = dict[str, Any]


class Memory(Protocol):
    """Something that a strategy remembers from step to step."""

    def reset(self) -> object:
        """Forget everything."""

    def state_dict(self) -> State:
        """What a resumed run needs of it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Strategy(ABC):
    """A balancing method; its options are the keyword-only parameters of `__init__` (see options.py)."""

    kind: Literal["loss weighting", "gradient strategy"]
    needs: Needs
    convention: Literal["sum", "mean", "own"] = "own"
    """Without conflict and imbalance, does d equal the sum of the gradients, their mean, or something of its own?"""
    paper: ClassVar[str] = ""

    batches: int = 1
    """How many independent batches a step must be made of; micro-batches are dealt to them in turn."""

    rows_on_features: bool = False
    """Whether rows on a shared representation serve a strategy that needs rows or batches, in place of parameters'."""

    update_frequency: int = 1

    wants_losses_after: bool = False
    """Whether the strategy is to be told the losses of the same batch after the optimiser's step (`observe_after`)."""

    wants_predictions: bool = False
    """Whether decisions look at the norms of the losses' gradients at the predictions (`prediction_norms`)."""

    learned: bool = False
    """Whether weights are learned by a loss of the strategy's own, such as Uncertainty's."""

    steady: ClassVar[Literal["always", "without conflict", "at bounds", "never"]] = "never"
    """When coefficients rightly stay what they are for many steps; at any other time weights that never move are a sign
    that the strategy is not in use. `at bounds`: where the solution lies at the limits of what coefficients may be."""

    def unused_options(self) -> dict[str, str]:
        """Options that have no effect beside the others, each with the reason; giving one of them is an error."""
        return {}

    @property
    def promises(self) -> Promises:
        """What this strategy, with its present options, guarantees."""
        return Promises()

    def bind(self, tasks: Sequence[str]) -> None:
        """Learn the task names before training starts; strategies with learned parameters create them here."""

    def begin(self, run: Horizon) -> None:
        """Learn how long the run is before it starts; strategies whose options are schedules bind them here."""

    def parameters(self) -> list[nn.Parameter]:
        """Parameters that the user's optimiser is to train, such as Uncertainty's log-variances."""
        return []

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups for `parameters()`: no weight decay, and a learning rate where the strategy has one."""
        parameters = self.parameters()
        return [{"params": parameters, "weight_decay": 0.0}] if parameters else []

    def parameter_gradients(self, observation: Observation) -> list[tuple[nn.Parameter, Tensor]]:
        """Gradients of the strategy's own objective in its `parameters()`; the engine adds them to `.grad`."""
        return []

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        """What the next decision will look at: `needs`, or less where cached coefficients will be reused."""
        return self.needs

    def idle_tasks(self, step: int) -> frozenset[str]:
        """Tasks whose weight at a step is exactly 0 whatever their losses are, so that these need not be computed."""
        return frozenset()

    @abstractmethod
    def decide(self, observation: Observation) -> Decision:
        """Return this step's decision and advance the strategy's state by one step."""

    def observe_after(self, observation: Observation) -> None:
        """Told the losses of the same batch after the optimiser's step, where `wants_losses_after`."""

    def observe_validation(self, metrics: Mapping[str, float]) -> None:
        """Told the metrics of every validation, for strategies that follow one."""

    def end_epoch(self) -> None:
        """Told at the end of every epoch, for strategies that average over epochs."""

    def memories(self) -> dict[str, Memory]:
        """Parts of the strategy that keep a state of their own, by their key in `state_dict`."""
        return {}

    def reset(self) -> None:
        """Forget everything learned, as if freshly built; parameters keep their identity."""
        for memory in self.memories().values():
            memory.reset()

    def state_dict(self) -> State:
        """Everything that a resumed run needs, as tensors, numbers, strings and dicts of these."""
        return {key: memory.state_dict() for key, memory in self.memories().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for key, memory in self.memories().items():
            memory.load_state_dict(state[key])


class LossWeighting(Strategy):
    """Weights on the losses: the shared and the task-specific gradients of task t are both multiplied by w_t."""

    kind = "loss weighting"
    needs = Needs.LOSSES

    @abstractmethod
    def weigh(self, observation: Observation) -> np.ndarray:
        """Return the weights w, shape (T,)."""

    def decide(self, observation: Observation) -> Decision:
        weights = self.weigh(observation)
        return Decision(weights, head_coefficients=weights, records=self.records(observation))

    def records(self, observation: Observation) -> dict[str, Any]:
        """Further figures for the diagnostics."""
        return {}


class GradientStrategy(Strategy):
    """Coefficients on the shared gradients; task-specific parameters keep their own gradient.

    With `update_frequency: N` the coefficients are solved for once in N steps and reused in between, by task name; a
    task without a cached coefficient forces a refresh.
    """

    kind = "gradient strategy"
    needs = Needs.GRAM

    def __init__(self, *, update_frequency: PositiveInt = 1) -> None:
        """Set how often coefficients are refreshed.

        Args:
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).
        """
        self.update_frequency = update_frequency
        self._steps = 0
        self._cached: dict[str, float] = {}

    @abstractmethod
    def solve(self, observation: Observation) -> Decision:
        """Return the decision for the active tasks of `observation`, all of which have nonzero gradients."""

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return self.needs if self._due(tasks) else Needs.NOTHING

    def decide(self, observation: Observation) -> Decision:
        decision = self._refresh(observation) if self._due(observation.tasks) else self._recall(observation)
        self._steps += 1
        return decision

    def _due(self, tasks: Sequence[str]) -> bool:
        return self._steps % self.update_frequency == 0 or any(task not in self._cached for task in tasks)

    def _refresh(self, observation: Observation) -> Decision:
        """Solve for the tasks with a gradient.

        One without, for want of labels in this batch, say, has the coefficient 0 at this step, and is remembered with
        the one that it had before: the next batch may hold labels for it. One that never had a gradient waits with 0
        for the next refresh.
        """
        active = np.flatnonzero(observation.norms)
        coefficients = np.zeros(len(observation.tasks))
        decision = Decision(coefficients)
        if active.size:
            decision = self.solve(observation.subset(active))
            coefficients[active] = decision.coefficients
        solved = {observation.tasks[i]: float(coefficients[i]) for i in active}
        self._cached = dict.fromkeys(observation.tasks, 0.0) | self._cached | solved
        return replace(decision, coefficients=coefficients)

    def _recall(self, observation: Observation) -> Decision:
        return Decision(np.array([self._cached[task] for task in observation.tasks]), refreshed=False)

    def reset(self) -> None:
        super().reset()
        self._steps = 0
        self._cached = {}

    def state_dict(self) -> State:
        return super().state_dict() | {"steps": self._steps, "cached": dict(self._cached)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._steps = state["steps"]
        self._cached = dict(state["cached"])
