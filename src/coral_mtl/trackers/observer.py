"""From what a trainer tells to flat names and numbers, and on to the trackers, whatever becomes of these."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

from coral_mtl.config.sections import Trackers as Settings
from coral_mtl.engine.reports import Observer, StepReport, ValidationReport
from coral_mtl.engine.step import Step
from coral_mtl.trackers.mlflow import MLflow
from coral_mtl.trackers.tensorboard import TensorBoard
from coral_mtl.trackers.tracker import TrackedRun, Tracker
from coral_mtl.trackers.wandb import WandB

Opener = Callable[[], Tracker]


class Tracking(Observer):
    """Tells trackers of every step and validation; a context that opens and closes them.

    A tracker that fails, from its opening to its closing, is told once, as a warning, and left alone from then on.
    """

    def __init__(self, openers: Mapping[str, Opener]) -> None:
        """Take by name what opens each tracker; it is called when the context begins."""
        self._openers = openers
        self._trackers: dict[str, Tracker] = {}

    def on_step(self, report: StepReport) -> None:
        if self._trackers:
            self._log(report.number, step_values(report))

    def on_validation(self, report: ValidationReport) -> None:
        self._log(report.step, {_validation_name(name): figure for name, figure in report.metrics.items()})

    def __enter__(self) -> Self:
        for name, opener in self._openers.items():
            self._attempt(name, partial(self._open, name, opener))
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(tracker.close, failed=kind is not None))
        self._trackers.clear()

    def _open(self, name: str, opener: Opener) -> None:
        self._trackers[name] = opener()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(tracker.log, step, values))

    def _attempt(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as problem:  # noqa: BLE001 - whatever goes wrong over there, the run goes on
            self._trackers.pop(name, None)
            warnings.warn(f"{name} failed and is told nothing more of this run: {problem!r}", stacklevel=2)


def step_values(report: StepReport) -> dict[str, float]:
    """Return the figures of a step under flat names; what was not measured is absent.

    `train/loss/<task>`, `train/weight/<task>`, `train/grad_norm/<task>`, `train/cosine/<a>_vs_<b>`,
    `train/update_norm`, `train/lr`.
    """
    step = report.account
    values = {"train/lr": report.lr}
    values |= {f"train/loss/{task}": loss for task, loss in step.losses.items()}
    values |= {f"train/weight/{task}": weight for task, weight in step.weights.items()}
    return values | _gradient_values(step)


def _gradient_values(step: Step) -> dict[str, float]:
    values = {f"train/grad_norm/{task}": norm for task, norm in step.norms.items()}
    values |= {f"train/cosine/{pair}": cosine for pair, cosine in step.cosines.items()}
    return values if step.update_norm is None else values | {"train/update_norm": step.update_norm}


def _validation_name(metric: str) -> str:
    """`tasks.<task>.<metric>` as `val/<task>/<metric>`, `global.<metric>` as `val/global/<metric>`."""
    owner, _, kind = metric.rpartition(".")
    return f"val/{owner.removeprefix('tasks.')}/{kind}"


def openers(settings: Settings, run: TrackedRun) -> dict[str, Opener]:
    """Return by name what opens each tracker that a configuration asks for."""
    found: dict[str, Opener] = {}
    if settings.tensorboard:
        found["TensorBoard"] = partial(TensorBoard, run)
    if settings.wandb is not None:
        found["Weights & Biases"] = partial(WandB, run, settings.wandb)
    if settings.mlflow is not None:
        found["MLflow"] = partial(MLflow, run, settings.mlflow)
    return found
