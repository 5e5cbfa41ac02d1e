"""The contract between the engine and every balancing method: an observation goes in, coefficients come out.

A strategy answers one question a step: with which coefficients c do I add the tasks' gradients, d = sum_t c_t g_t?
What it may look at is its `needs`; the engine computes no more than that. All T x T arithmetic is NumPy float64 on the
host; strategies never see the model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from coral_mtl.engine.solvers.solution import Solution
from coral_mtl.errors import StrategyError
from coral_mtl.options import PositiveInt

State = dict[str, Any]


class Needs(IntEnum):
    """What a strategy looks at, each level including the ones before it."""

    NOTHING = 0
    """Coefficients are known before the losses are: one backward, also over several micro-batches."""
    LOSSES = 1
    """Loss values: one backward; under accumulation one per task, since the decision must wait for the whole batch."""
    GRAM = 2
    """Inner products of the tasks' gradients: one backward per task whenever the coefficients are refreshed."""
    ROWS = 3
    """The coordinates of the gradients themselves."""


class RawRows(Protocol):
    """The coordinates of the tasks' gradients on the shared parameters, for strategies with `needs = Needs.ROWS`."""

    names: Sequence[str]
    """Names of the shared parameters, in the order of all lists of tensors below."""

    def gradients(self, task: int, batch: int | None = None) -> list[Tensor]:
        """The gradient of one task, a tensor per parameter, on the whole batch or on one of the `batches`.

        They are the engine's own tensors: read them, and make new ones for what you return or keep.
        """

    def cross_gram(self, first: int | None = None, second: int | None = None) -> np.ndarray:
        """(T, T) inner products G_first G_second', each of one of the `batches` (None: of the whole batch)."""

    def group_grams(self, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """One (T, T) Gram matrix per group of parameters, given by their positions in `names`."""

    def subset(self, chosen: Sequence[int]) -> Self:
        """The rows of the tasks at the indices `chosen` alone."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a strategy sees of one optimiser step.

    tasks: names of the tasks that are present, in the order of all arrays below.
    losses: (T,) unweighted loss values.
    gram: (T, T) inner products of the raw gradients on the shared parameters, or None where none were computed. A task
        whose shared gradient is exactly zero has a zero row, which `GradientStrategy.decide` leaves out of the problem.
    precision: relative rounding error of the entries of `gram` (2e-16 for float64 gradients, about 1e-6 for float32).
    step: number of optimiser steps decided before this one.
    rows: the gradients themselves, for strategies that need them.
    """

    tasks: tuple[str, ...]
    losses: np.ndarray
    gram: np.ndarray | None = None
    precision: float = 2.3e-16
    step: int = 0
    rows: RawRows | None = None

    @property
    def norms(self) -> np.ndarray:
        """(T,) norms n_t = sqrt(M_tt) of the tasks' gradients."""
        return np.sqrt(np.maximum(np.diag(self.require_gram()), 0.0))

    def require_gram(self) -> np.ndarray:
        """Return `gram`; raise StrategyError where the caller forgot to compute it."""
        if self.gram is None:
            raise StrategyError("this strategy needs the Gram matrix of the gradients, and this observation has none")
        return self.gram

    def require_rows(self) -> RawRows:
        """Return `rows`; raise StrategyError where none were collected."""
        if self.rows is None:
            raise StrategyError("this strategy needs the gradients themselves, and this observation has none")
        return self.rows

    def subset(self, chosen: np.ndarray) -> "Observation":
        """Return the observation of the tasks at the indices `chosen` alone."""
        gram = None if self.gram is None else self.gram[np.ix_(chosen, chosen)]
        rows = None if self.rows is None else self.rows.subset(chosen.tolist())
        tasks = tuple(self.tasks[i] for i in chosen)
        return replace(self, tasks=tasks, losses=self.losses[chosen], gram=gram, rows=rows)

    def weighted(self, weights: np.ndarray) -> "Observation":
        """Return the observation of the losses w_t l_t, whose gradients are w_t g_t."""
        gram = None if self.gram is None else self.gram * np.outer(weights, weights)
        return replace(self, losses=self.losses * weights, gram=gram)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy decides for one step.

    coefficients: (T,) effective coefficients c_t on the raw shared gradients, d = sum_t c_t g_t.
    head_coefficients: (T,) factors on the gradients of task-specific parameters; None means 1 for all.
    solution: the solver's outcome, for strategies that solve something.
    records: further figures for the diagnostics, such as {"imgrad_cos_theta": 0.3}; a dict is keyed by task name.
    refreshed: False where cached coefficients were reused.
    direction: the shared direction itself, a tensor per parameter, for methods whose d is no combination of the g_t;
        the engine then takes it as it is, and reports as coefficients those of the nearest combination.
    """

    coefficients: np.ndarray
    head_coefficients: np.ndarray | None = None
    solution: Solution | None = None
    records: dict[str, Any] = field(default_factory=dict)
    refreshed: bool = True
    direction: list[Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Promises:
    """What holds for every Gram matrix under the options a strategy was built with; `tests/properties` checks each.

    non_conflicting: <g_i, d> >= 0 for every task i.
    scale: the direction of d does not change when the gradients are rescaled, each by its own factor (`per_task`), all
        by one (`common`), or it does (`none`).
    simplex: the coefficients are nonnegative and sum to 1.
    nonnegative: the coefficients are nonnegative.
    permutation: reordering the tasks reorders the coefficients.
    descends_mean: <d, mean gradient> >= 0.
    """

    non_conflicting: bool = False
    scale: Literal["per_task", "common", "none"] = "common"
    simplex: bool = False
    nonnegative: bool = True
    permutation: bool = True
    descends_mean: bool = False


class Strategy(ABC):
    """A balancing method; its options are the keyword-only parameters of `__init__` (see options.py)."""

    kind: Literal["loss weighting", "gradient strategy"]
    needs: Needs
    convention: Literal["sum", "mean", "own"] = "own"
    """Without conflict and imbalance, does d equal the sum of the gradients, their mean, or something of its own?"""
    paper: ClassVar[str] = ""

    batches: int = 1
    """How many independent batches a step must be made of; micro-batches are dealt to them in turn."""

    update_frequency: int = 1

    wants_losses_after: bool = False
    """Whether the strategy is to be told the losses of the same batch after the optimiser's step (`observe_after`)."""

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

    @abstractmethod
    def decide(self, observation: Observation) -> Decision:
        """Return this step's decision and advance the strategy's state by one step."""

    def observe_after(self, observation: Observation) -> None:
        """Told the losses of the same batch after the optimiser's step, where `wants_losses_after`."""

    def end_epoch(self) -> None:
        """Told at the end of every epoch, for strategies that average over epochs."""

    def reset(self) -> None:
        """Forget everything learned, as if freshly built; parameters keep their identity."""

    def state_dict(self) -> State:
        """Everything that a resumed run needs, as tensors, numbers, strings and dicts of these."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


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
        """Solve for the tasks with a gradient; the others get coefficient 0 until the next refresh."""
        active = np.flatnonzero(observation.norms)
        coefficients = np.zeros(len(observation.tasks))
        decision = Decision(coefficients)
        if active.size:
            decision = self.solve(observation.subset(active))
            coefficients[active] = decision.coefficients
        self._cached |= dict(zip(observation.tasks, coefficients.tolist(), strict=True))
        return replace(decision, coefficients=coefficients)

    def _recall(self, observation: Observation) -> Decision:
        return Decision(np.array([self._cached[task] for task in observation.tasks]), refreshed=False)

    def reset(self) -> None:
        self._steps = 0
        self._cached = {}

    def state_dict(self) -> State:
        return {"steps": self._steps, "cached": dict(self._cached)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        self._cached = dict(state["cached"])


class Stack(Strategy):
    """A gradient strategy on the gradients of weighted losses, such as Uncertainty with PCGrad.

    With w from the weighting and c from the strategy on the Gram matrix of the w_t g_t, the effective coefficients are
    w_t c_t and the task-specific parameters of task t see w_t.
    """

    kind = "gradient strategy"
    needs = Needs.GRAM

    def __init__(self, weighting: LossWeighting, strategy: GradientStrategy) -> None:
        for part, kind in ((weighting, LossWeighting), (strategy, GradientStrategy)):
            if not isinstance(part, kind):
                raise StrategyError(
                    f"cannot stack {type(strategy).__name__} on {type(weighting).__name__}: a stack is one loss "
                    "weighting under one gradient strategy, because a second gradient strategy would undo what the "
                    "first guarantees\n    take one of the two, or a loss weighting such as Uncertainty underneath"
                )
        if strategy.needs is Needs.ROWS:
            raise StrategyError(
                f"{type(strategy).__name__} works on the gradients' coordinates and cannot be stacked on a loss "
                "weighting\n    use it alone, or take a strategy that works on the Gram matrix"
            )
        self.weighting = weighting
        self.strategy = strategy
        self.update_frequency = strategy.update_frequency
        self.wants_losses_after = weighting.wants_losses_after

    @property
    def promises(self) -> Promises:
        return replace(self.strategy.promises, simplex=False)

    def observe_after(self, observation: Observation) -> None:
        self.weighting.observe_after(observation)

    def bind(self, tasks: Sequence[str]) -> None:
        self.weighting.bind(tasks)
        self.strategy.bind(tasks)

    def parameters(self) -> list[nn.Parameter]:
        return self.weighting.parameters()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.weighting.parameter_groups()

    def parameter_gradients(self, observation: Observation) -> list[tuple[nn.Parameter, Tensor]]:
        return self.weighting.parameter_gradients(observation)

    def needs_now(self, tasks: Sequence[str]) -> Needs:
        return max(self.weighting.needs_now(tasks), self.strategy.needs_now(tasks))

    def decide(self, observation: Observation) -> Decision:
        below = self.weighting.decide(observation)
        above = self.strategy.decide(observation.weighted(below.coefficients))
        return Decision(
            coefficients=below.coefficients * above.coefficients,
            head_coefficients=below.coefficients,
            solution=above.solution,
            records=below.records | above.records,
            refreshed=above.refreshed,
        )

    def end_epoch(self) -> None:
        self.weighting.end_epoch()
        self.strategy.end_epoch()

    def reset(self) -> None:
        self.weighting.reset()
        self.strategy.reset()

    def state_dict(self) -> State:
        return {"weighting": self.weighting.state_dict(), "strategy": self.strategy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weighting.load_state_dict(state["weighting"])
        self.strategy.load_state_dict(state["strategy"])


class SeededGenerator:
    """A strategy's own source of randomness: untouched by the user's seeds, equal on all processes, checkpointed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, count: int) -> np.ndarray:
        """(count,) draws of the standard normal distribution."""
        return torch.randn(count, generator=self._generator, dtype=torch.float64).numpy()

    def uniform(self, count: int) -> np.ndarray:
        """(count,) draws of the uniform distribution on [0, 1)."""
        return torch.rand(count, generator=self._generator, dtype=torch.float64).numpy()

    def permutation(self, count: int) -> np.ndarray:
        """A random order of 0 .. count-1."""
        return torch.randperm(count, generator=self._generator).numpy()

    def visiting_orders(self, count: int) -> np.ndarray:
        """(count, count - 1) indices, row i a random order of all but i: uniform keys, sorted, with i last and cut."""
        keys = self.uniform(count * count).reshape(count, count)
        np.fill_diagonal(keys, np.inf)
        return np.argsort(keys, axis=1)[:, :-1]

    def reset(self) -> Self:
        """Start again from the seed."""
        self._generator.manual_seed(self._seed)
        return self

    def state_dict(self) -> State:
        """The generator's state, as a byte tensor."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._generator.set_state(state["generator"])
