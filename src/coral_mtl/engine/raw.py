"""The coordinates of the gradients, for the few strategies that need more than their inner products."""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.gram import gram_matrix
from coral_mtl.engine.rows import Row


class CollectedRows:
    """Rows on the shared parameters, whole and by batch (see `observation.RawRows`).

    The losses of a micro-batch come divided by the number of micro-batches, so that rows of all batches add up to the
    whole. The gradient of one batch alone is therefore its row times the number of batches.
    """

    def __init__(self, names: Sequence[str], parameters: Sequence[Tensor], batches: Sequence[Sequence[Row]]) -> None:
        """Wrap rows.

        Args:
            names: names of the shared parameters.
            parameters: the shared parameters, in the same order.
            batches: for each independent batch, one row per task.
        """
        self.names = names
        self._parameters = parameters
        self._batches = batches

    def gradients(self, task: int, batch: int | None = None) -> list[Tensor]:
        """See `RawRows.gradients`."""
        if len(self._batches) == 1:
            return [self._entry(0, task, parameter) for parameter in self._parameters]
        if batch is not None:
            factor = len(self._batches)
            return [self._entry(batch, task, parameter) * factor for parameter in self._parameters]
        return [
            torch.stack([self._entry(index, task, parameter) for index in range(len(self._batches))]).sum(0)
            for parameter in self._parameters
        ]

    def cross_gram(self, first: int | None = None, second: int | None = None) -> np.ndarray:
        """See `RawRows.cross_gram`."""
        blocks = self._blocks
        chosen = blocks.sum(0) if first is None else blocks[first] * len(self._batches)
        return chosen.sum(1) if second is None else chosen[:, second] * len(self._batches)

    def group_grams(self, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """See `RawRows.group_grams`."""
        rows = self._batches[0] if len(self._batches) == 1 else self._whole()
        return [gram_matrix(rows, [self._parameters[index] for index in group])[0] for group in groups]

    def subset(self, chosen: Sequence[int]) -> Self:
        """See `RawRows.subset`."""
        return type(self)(self.names, self._parameters, [[batch[i] for i in chosen] for batch in self._batches])

    @cached_property
    def _blocks(self) -> np.ndarray:
        """Inner products of all rows, by (batch, task, batch, task)."""
        count, tasks = len(self._batches), len(self._batches[0])
        gram, _ = gram_matrix([row for batch in self._batches for row in batch], self._parameters)
        return gram.reshape(count, tasks, count, tasks)

    def _whole(self) -> list[Row]:
        tasks = range(len(self._batches[0]))
        return [dict(zip(self._parameters, self.gradients(task), strict=True)) for task in tasks]

    def _entry(self, batch: int, task: int, parameter: Tensor) -> Tensor:
        found = self._batches[batch][task].get(parameter)
        return torch.zeros_like(parameter) if found is None else found
