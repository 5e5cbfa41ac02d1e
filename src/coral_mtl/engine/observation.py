"""What a strategy sees of one optimiser step, and what it answers.

All T x T arithmetic is NumPy float64 on the host; strategies never see the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, Protocol, Self

import numpy as np
from torch import Tensor

from coral_mtl.engine.solvers.solution import Solution
from coral_mtl.errors import StrategyError


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
    prediction_norms: (T,) norms |dl_t/dP| at the predictions, for strategies that want them.
    """

    tasks: tuple[str, ...]
    losses: np.ndarray
    gram: np.ndarray | None = None
    precision: float = 2.3e-16
    step: int = 0
    rows: RawRows | None = None
    prediction_norms: np.ndarray | None = None

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

    def require_prediction_norms(self) -> np.ndarray:
        """Return `prediction_norms`; raise StrategyError where none were computed."""
        if self.prediction_norms is None:
            raise StrategyError("this strategy needs the gradients at the predictions, and this observation has none")
        return self.prediction_norms

    def subset(self, chosen: np.ndarray) -> "Observation":
        """Return the observation of the tasks at the indices `chosen` alone."""
        return replace(
            self,
            tasks=tuple(self.tasks[i] for i in chosen),
            losses=self.losses[chosen],
            gram=None if self.gram is None else self.gram[np.ix_(chosen, chosen)],
            rows=None if self.rows is None else self.rows.subset(chosen.tolist()),
            prediction_norms=None if self.prediction_norms is None else self.prediction_norms[chosen],
        )

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
    records: further figures for the diagnostics, such as {"imgrad_cos_theta": 0.3}; a dict is keyed by task name. They
        are read later, on another thread: give copies of what will change.
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
    simplex: the coefficients are nonnegative and sum to 1, where all tasks of the run are present.
    nonnegative: the coefficients are nonnegative.
    permutation: reordering the tasks reorders the coefficients.
    descends_mean: <d, mean gradient> >= 0.
    combination: d = sum_t c_t g_t, so that there are coefficients to average.
    """

    non_conflicting: bool = False
    scale: Literal["per_task", "common", "none"] = "common"
    simplex: bool = False
    nonnegative: bool = True
    permutation: bool = True
    descends_mean: bool = False
    combination: bool = True
