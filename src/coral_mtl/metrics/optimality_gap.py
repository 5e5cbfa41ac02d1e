"""How far the weights of a linear map are from an optimum that is known."""

from collections.abc import Mapping

import torch
from torch import Tensor

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.perceptual.judgement import cross_entropy


@registry.metrics.register
class OptimalityGap:
    """For the data set KnownOptimum, `gap`: the mean cross-entropy of max(0, w) less that of the optimum, in float64;
    `violation`: the largest -w_i, 0 if none is below 0; `zeros`: how many of the weights that are 0 at the optimum are
    exactly 0.

    The gap is measured after cutting off what is below 0, as such weights would be used; without it a violation would
    look like a gain.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        """Prepare the figures of the one task; raise ConfigError where there are several."""
        if len(tasks) != 1:
            raise ConfigError(f"OptimalityGap is for the task of KnownOptimum, not for {', '.join(tasks)}")
        self.tasks = dict(tasks)
        (self._task,) = tasks
        self.names = tuple(f"tasks.{self._task}.{figure}" for figure in ("gap", "violation", "zeros"))
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self._figures = [float("nan")] * 3

    @torch.no_grad()
    def update(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Measure weights (1, 84), the predictions for the unit vectors, against `rows`, votes and `optimum`.

        Raise DataError where the targets are of another data set.
        """
        if not {"rows", "optimum"} <= targets.keys():
            raise DataError("OptimalityGap measures on the data set KnownOptimum alone\n    take metrics: MetricSet")
        weights, X, votes, optimum = (
            each[0].cpu().double()
            for each in (predictions[self._task], targets["rows"], targets[self._task], targets["optimum"])
        )
        reached, lowest = (cross_entropy(X @ w, votes).mean() for w in (weights.clamp(min=0.0), optimum))
        zeros = ((weights == 0.0) & (optimum == 0.0)).sum()
        self._figures = [(reached - lowest).item(), (-weights).clamp(min=0.0).max().item(), float(zeros)]

    def compute(self) -> dict[str, float]:
        """Return the figures, NaN before anything was measured."""
        return dict(zip(self.names, self._figures, strict=True))
