"""How the losses of one run went, in training and in validation: what learning is judged by."""

import math
from collections.abc import Mapping

import numpy as np

from coral_mtl.diagnostics.curves import Curve, Curves
from coral_mtl.diagnostics.reader import Record
from coral_mtl.diagnostics.spikes import Spikes
from coral_mtl.diagnostics.tally import Trend
from coral_mtl.diagnostics.thresholds import Thresholds

_MOST_TASKS = 100
_HEAD = 8


class Course:
    """Losses of one run over its steps, of the same size however long the run is.

    trends: of the losses, by task. log_trends: of the logarithms of the positive ones; heads: the first 8 of these.
    rate: of the learning rate; last_rate: where it ended. spikes: episodes of losses far above their level.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        """Start before the first record of the run."""
        self.trends: dict[str, Trend] = {}
        self.log_trends: dict[str, Trend] = {}
        self.heads: dict[str, list[float]] = {}
        self.rate = Trend()
        self.last_rate = 0.0
        self.spikes = Spikes(thresholds.spike_ratio, thresholds.spike_noise)
        self._curves = Curves()
        self._drawn: list[str] = []

    def add(self, record: Record) -> None:
        """Take in the next record."""
        rate = record.scalars.get("lr")
        if rate is not None and math.isfinite(rate):
            self.rate.add(rate)
            self.last_rate = rate
        logarithms = {task: math.log(loss) for task, loss in record.losses.items() if 0.0 < loss < math.inf}
        for task, loss in record.losses.items():
            if math.isfinite(loss):
                self.trends.setdefault(task, Trend()).add(loss)
        for task, logarithm in logarithms.items():
            if task not in self.log_trends:
                self._welcome(task)
            self.log_trends[task].add(logarithm)
            if len(self.heads[task]) < _HEAD:
                self.heads[task].append(logarithm)
        self.spikes.add(record.step, logarithms, rate)
        self._curves.add(record.step, self._named("training", logarithms))

    def add_validation(self, step: int, losses: Mapping[str, float]) -> None:
        """Take in the losses by task of the validation after `step`."""
        logarithms = {task: math.log(loss) for task, loss in losses.items() if 0.0 < loss < math.inf}
        self._curves.add(step, self._named("validation", logarithms))

    def validation(self, task: str) -> Curve:
        """Return the logarithm of a task's validation loss over the steps; without buckets where there is none."""
        return self._curves.curve(("validation", task))

    def validations(self) -> dict[str, dict[str, list[float]]]:
        """Return the validation losses (geometric means where several share a place) with their steps, by task."""
        curves = {task: self.validation(task) for task in self._drawn}
        return {
            task: {"steps": (curve.buckets * curve.length).tolist(), "losses": np.exp(curve.means).tolist()}
            for task, curve in curves.items()
            if len(curve.buckets)
        }

    def training_before(self, task: str, steps: np.ndarray) -> np.ndarray:
        """Return the mean log training loss from each of the ascending `steps` back to the one before it.

        NaN where there is no record in between.
        """
        curve = self._curves.curve(("training", task))
        window = np.searchsorted(steps, curve.buckets * curve.length)
        sums = np.zeros((2, len(steps) + 1))
        np.add.at(sums[0], window, curve.counts)
        np.add.at(sums[1], window, curve.counts * curve.means)
        with np.errstate(invalid="ignore"):
            return (sums[1] / sums[0])[: len(steps)]

    def _welcome(self, task: str) -> None:
        self.log_trends[task] = Trend()
        self.heads[task] = []
        if len(self._drawn) < _MOST_TASKS:
            self._drawn.append(task)

    def _named(self, kind: str, logarithms: Mapping[str, float]) -> dict[tuple[str, str], float]:
        """The figures of the first 100 tasks under the names of their curves."""
        return {(kind, task): logarithms[task] for task in self._drawn if task in logarithms}
