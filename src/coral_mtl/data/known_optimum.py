"""A problem with bounds whose optimum is known, for measuring how near each way to keep the bounds comes to it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.options import NonNegativeInt, PositiveInt

Item = tuple[Tensor, dict[str, Tensor]]

VOTES, ROWS, OPTIMUM = "votes", "rows", "optimum"
COUNT, WEIGHTS, ZEROS = 400, 84, 63
"""Numbers of votes, of weights, and of the weights that are 0 at the optimum."""


@registry.data.register
class KnownOptimum:
    """A logistic regression under w >= 0 with 84 weights, of which 63 are exactly 0 at the optimum.

    It is built around its optimum: for any X (n, 84) and w the votes h = sigmoid(X w) - r, with X' r / n = lambda, make
    w the minimum over w >= 0 with the multipliers lambda, since the gradient X' (sigmoid(X w) - h) / n is lambda: 0
    where w is above 0, and above 0 where w is 0. Multipliers are so small that the 400 votes lie within [0, 1].

    Training items are (X, {"votes": h}), each the whole problem, so that a batch of one is a full step. The only
    validation item has the 84 unit vectors for its inputs, which a linear map takes to its weights, and for its targets
    the problem: `votes` h, `rows` X and `optimum` w, as the metric set OptimalityGap reads them. What is computed with
    is float64, X itself float32.
    """

    def __init__(self, *, train_size: PositiveInt = 2000, seed: NonNegativeInt | None = None) -> None:
        """Draw the problem.

        Args:
            train_size: number of training items, all alike: full steps in an epoch (default 2000).
            seed: seed of the problem (default null: the run's, so that runs with different seeds have different
                problems; 0 outside a run).
        """
        generator = torch.Generator().manual_seed(seed or 0)
        X = torch.randn(COUNT, WEIGHTS, generator=generator)
        optimum, multipliers = _solution(generator)
        votes = _votes(X.double(), optimum, multipliers)
        self.train = _Alike((X, {VOTES: votes}), train_size)
        self.validation = _Alike((torch.eye(WEIGHTS), {VOTES: votes, ROWS: X, OPTIMUM: optimum}), 1)
        self.tasks = self.task_specs()
        self.input_shape = tuple(X.shape)

    @staticmethod
    def task_specs(**options: Any) -> dict[str, TaskSpec]:
        """Return the task by name, which is the same whatever the options."""
        return {VOTES: TaskSpec("regression", COUNT)}


class _Alike(Dataset[Item]):
    """One item, so many times."""

    def __init__(self, item: Item, count: int) -> None:
        self._item = item
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self._count:
            raise IndexError(f"item {index} of {self._count}")
        return self._item


def _solution(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights, 0 or from 0.05 to 0.2, and multipliers, 0 where the weights are not, else 0.003 to 0.009."""
    at_zero = torch.randperm(WEIGHTS, generator=generator) < ZEROS
    drawn = torch.rand(2, WEIGHTS, generator=generator, dtype=torch.float64)
    return torch.where(at_zero, 0.0, 0.05 + 0.15 * drawn[0]), torch.where(at_zero, 0.003 + 0.006 * drawn[1], 0.0)


def _votes(X: Tensor, optimum: Tensor, multipliers: Tensor) -> Tensor:
    """Return the votes for which `optimum` is the minimum over w >= 0 with these multipliers.

    Where a vote would leave [0, 1] all multipliers are smaller by one factor.
    """
    chances = torch.sigmoid(X @ optimum)
    r = COUNT * X @ torch.linalg.solve(X.T @ X, multipliers)
    room = torch.where(r > 0.0, chances, 1.0 - chances) / r.abs()
    return chances - (0.99 * room.min()).clamp(max=1.0) * r
