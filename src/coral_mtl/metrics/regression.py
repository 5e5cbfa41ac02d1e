"""Errors and explained variance over all elements."""

import math
from typing import ClassVar

import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import element_losses


class RegressionMetrics:
    """`mae` mean |e|, `rmse` sqrt(mean e^2), `loss` mean e^2, and `r2` = 1 - sum e^2 / sum (y - mean y)^2.

    The mean of y in `r2` is taken per dimension of the target, and the sums run over all dimensions. The sum of squares
    about the mean is merged batch by batch (Chan, Golub & LeVeque 1983), so a large mean costs no digits. Figures of no
    element are NaN, and so is `r2` where the targets do not vary.
    """

    names: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2", "loss")
    score: ClassVar[str] = "r2"

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self.count = 0
        self._absolute = 0.0
        self._squared = 0.0
        self._mean = torch.zeros(task.size, dtype=torch.float64)
        self._spread = 0.0

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch: predictions and targets of shape (N, size, ...)."""
        squared = element_losses(self._task, prediction, target).cpu().double()
        self._squared += squared.sum().item()
        self._absolute += squared.sqrt().sum().item()
        self._merge(target.detach().cpu().double().movedim(1, -1).reshape(-1, self._task.size))

    def _merge(self, rows: torch.Tensor) -> None:
        """Take the targets (n, size) into the mean and into the sum of squares about it."""
        if len(rows) == 0:
            return
        mean = rows.mean(dim=0)
        total = self.count + len(rows)
        apart = mean - self._mean
        self._spread += ((rows - mean) ** 2).sum().item()
        self._spread += (apart**2).sum().item() * self.count * len(rows) / total
        self._mean += apart * len(rows) / total
        self.count = total

    def compute(self) -> dict[str, float]:
        """Return the figures over everything added so far."""
        if self.count == 0:
            return dict.fromkeys(self.names, math.nan)
        elements = self.count * self._task.size
        return {
            "mae": self._absolute / elements,
            "rmse": math.sqrt(self._squared / elements),
            "r2": 1.0 - self._squared / self._spread if self._spread > 0.0 else math.nan,
            "loss": self._squared / elements,
        }
