"""Arithmetic on gradients as lists of tensors, one per shared parameter, and averages of them that outlive a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.gram import gram_matrix
from coral_mtl.engine.observation import RawRows
from coral_mtl.engine.strategy import State


def widened(gradient: Tensor) -> Tensor:
    """The gradient in float32, or in float64 if it is: half precision is too coarse to accumulate in."""
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))


def weighted_sum(coefficients: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """sum_i c_i x_i, a new tensor."""
    total = tensors[0] * coefficients[0]
    for coefficient, tensor in zip(coefficients[1:], tensors[1:], strict=True):
        total.add_(tensor, alpha=coefficient)
    return total


class GradientAverages:
    """Exponential moving averages y_t of the tasks' gradients, by the names of tasks and parameters: T x D memory.

    y_t starts at zero. A task that is absent keeps its average. Tensors are replaced and never written into, so that
    `state_dict` needs no copies.
    """

    def __init__(self) -> None:
        self._averages: dict[str, dict[str, Tensor]] = {}

    def move(self, tasks: Sequence[str], rows: RawRows, share: float, factors: np.ndarray) -> None:
        """y_t <- y_t + share (f_t g_t - y_t) for the tasks of this step, with one factor f_t each."""
        for index, (task, factor) in enumerate(zip(tasks, factors.tolist(), strict=True)):
            average = self._averages.setdefault(task, {})
            for name, gradient in zip(rows.names, rows.gradients(index), strict=True):
                target = widened(gradient) * factor
                before = average.get(name)
                average[name] = target * share if before is None else before.to(target).lerp(target, share)

    def gram(self, tasks: Sequence[str], rows: RawRows) -> np.ndarray:
        """(T, T) inner products of the averages of `tasks` over the shared parameters of this step."""
        averages = [[self._averages[task][name] for name in rows.names] for task in tasks]
        keys = averages[0]
        return gram_matrix([dict(zip(keys, average, strict=True)) for average in averages], keys)[0]

    def combined(self, tasks: Sequence[str], rows: RawRows, coefficients: np.ndarray) -> list[Tensor]:
        """sum_t c_t y_t for each shared parameter, in the type of its gradient."""
        weights = coefficients.tolist()
        return [
            weighted_sum(weights, [self._averages[task][name] for task in tasks]).to(gradient.dtype)
            for name, gradient in zip(rows.names, rows.gradients(0), strict=True)
        ]

    def reset(self) -> None:
        """Forget all averages."""
        self._averages = {}

    def state_dict(self) -> State:
        """The averages by task and parameter."""
        return {task: dict(average) for task, average in self._averages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._averages = {task: dict(average) for task, average in state.items()}
