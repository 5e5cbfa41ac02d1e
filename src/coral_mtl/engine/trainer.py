"""The training loop, for any model, loss and strategy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import Dataset

from coral_mtl.config.sections import Trainer as Settings
from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.engine.batches import Batch, Batches, MicroBatch, window
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.optimizer import ScheduledOptimizer
from coral_mtl.engine.precision import Precision
from coral_mtl.engine.randomness import deterministic_algorithms, generators_state, load_generators_state
from coral_mtl.engine.reports import Observer, StepReport, ValidationReport
from coral_mtl.engine.selection import ModelSelection
from coral_mtl.engine.step import Step
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.metrics import MetricSet


class Outcome(StrEnum):
    """How `Trainer.fit` ended."""

    FINISHED = "finished"
    STOPPED_EARLY = "stopped early"
    INTERRUPTED = "interrupted"


class Splits(Protocol):
    """What `registry.data` builds: map-style data sets of (inputs, {task: target}), for training and validation."""

    train: Dataset[Any]
    validation: Dataset[Any]


class _StopAsked(Exception):  # noqa: N818 - nothing went wrong
    """The caller asked for a stop; a checkpoint written now takes the run up again exactly here."""


class Trainer:
    """Trains, validates, selects the best epoch and saves; a run that is loaded again goes on bit for bit."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]],
        engine: Engine,
        optimizer: ScheduledOptimizer,
        data: Splits,
        *,
        metrics: MetricSet,
        settings: Settings,
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        gradient_every: int = 50,
        checkpoints: Checkpoints | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Put the parts of a run together; the model is where it is to be trained.

        Args:
            metrics: measured on the validation data.
            settings: the section `trainer` of a configuration.
            batch_size: samples in a micro-batch.
            num_workers: processes that load batches; 0 loads in this one (default 0).
            seed: seed of the order of the samples (default 0).
            gradient_every: steps between measurements of the gradients for the diagnostics (default 50).
            checkpoints: where to save; None saves nothing (default None).
            observers: told of every step, validation and checkpoint.

        Raises:
            ConfigError: `settings.model_selection_metric` is none of the metrics, or gradients are to be compared on
                features that the model does not show.
        """
        if settings.model_selection_metric not in metrics.names:
            raise ConfigError(
                f'no metric called "{settings.model_selection_metric}" to select the model by\n'
                f"    this run produces: {', '.join(metrics.names)}",
                option="model_selection_metric",
            )
        if engine.gram_on == "features" and not (hasattr(model, "represent") and hasattr(model, "predict")):
            raise ConfigError(
                f"{type(model).__name__} does not show its shared features, which gram_on: features needs\n"
                "    give it the methods represent(inputs) and predict(features), or take gram_on: parameters",
                option="gram_on",
            )
        self.model = model
        self.loss = loss
        self.engine = engine
        self.optimizer = optimizer.optimizer
        self.schedule = optimizer.schedule
        self.metrics = metrics
        self.settings = settings
        self.device = next(model.parameters()).device
        self.precision = Precision(
            self.device, settings.mixed_precision_dtype if settings.use_mixed_precision else "float32"
        )
        stopping = settings.early_stopping
        self.selection = ModelSelection(
            mode=settings.metric_mode,
            patience=stopping.patience if stopping else None,
            min_delta=stopping.min_delta if stopping else 0.0,
        )
        self.sampler = ResumableSampler(len(data.train), seed=seed)  # type: ignore[arg-type]
        in_order = ResumableSampler(len(data.validation), shuffle=False)  # type: ignore[arg-type]
        batches = partial(Batches, batch_size=batch_size, num_workers=num_workers, device=self.device)
        self._training = batches(data.train, self.sampler)
        self._validation = batches(data.validation, in_order)
        self._batch_size = batch_size
        self._window_size = batch_size * settings.gradient_accumulation_steps
        self._gradient_every = gradient_every
        self._checkpoints = checkpoints
        self._observers = observers
        self._stop: Callable[[], bool] = lambda: False
        self.step = 0
        self.micro_step = 0

    def fit(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Train from the present position to the end.

        Args:
            stop: asked after every step and validation batch; once it answers True a checkpoint is written and the call
                returns.

        Raises:
            TrainingError: `max_nonfinite_steps` steps in a row were skipped.
        """
        self._stop = stop
        with deterministic_algorithms(self.settings.deterministic):
            try:
                if self.step == 0:
                    self._save()
                while self.sampler.epoch < self.settings.epochs and not self.selection.exhausted:
                    self._train_epoch()
                    self._end_epoch()
            except _StopAsked:
                self._save()
                return Outcome.INTERRUPTED
        return Outcome.FINISHED if self.sampler.epoch == self.settings.epochs else Outcome.STOPPED_EARLY

    @property
    def validation_due(self) -> bool:
        """Whether all samples of the present epoch were seen, and its end was not reached yet."""
        return self.sampler.position == self.sampler.length

    def _train_epoch(self) -> None:
        self.model.train()
        batches = iter(self._training)
        while not self.validation_due:
            report = self.take_step(batches)
            for observer in self._observers:
                observer.on_step(report)
            if self.engine.skipped_in_a_row >= self.settings.max_nonfinite_steps:
                raise TrainingError(
                    f"step {self.step}: {self.engine.skipped_in_a_row} steps in a row were skipped; this one: "
                    f"{report.account.skipped}\n    no parameter was harmed; look at that task's data and loss, lower "
                    "the learning rate, or clip with trainer.max_grad_norm"
                )
            if self.step % self.settings.checkpoint_every == 0:
                self._save()
            if self._stop():
                raise _StopAsked

    def take_step(self, batches: Iterator[Batch]) -> StepReport:
        """One optimiser step: losses -> their one gradient -> unscale -> clip -> update -> advance the clock."""
        lr = float(self.schedule.get_last_lr()[0])
        self.optimizer.zero_grad()
        samples = min(self._window_size, self.sampler.length - self.sampler.position)
        window = self._window(batches, samples)
        account = self._backward(window)
        self.precision.unscale(self.optimizer)
        clip_factor = self._clip()
        self.precision.step(self.optimizer)
        if not account.skipped:
            self.schedule.step()
            self._observe_after(window)
        self.sampler.skip(samples)
        self.step += 1
        return StepReport(self.step, self.micro_step, self.sampler.epoch, account, lr, clip_factor)

    def _window(self, batches: Iterator[Batch], samples: int) -> Iterable[MicroBatch]:
        """The micro-batches of the next step."""
        strategy = self.engine.strategy
        found = window(batches, samples=samples, batch_size=self._batch_size, at_least=strategy.batches)
        return list(found) if strategy.wants_losses_after else found

    def _backward(self, window: Iterable[MicroBatch]) -> Step:
        measure = self.step % self._gradient_every == 0
        for part in window:
            losses, features = self._losses(part)
            account = self.engine.backward(
                losses, scaler=self.precision.scaler, accumulate=not part.last, measure=measure, features=features
            )
            self.micro_step += 1
        return account

    def _losses(self, part: MicroBatch) -> tuple[dict[str, Tensor], Any]:
        """The losses times the part's share, and the shared features where the engine looks at these."""
        features = None
        with self.precision.autocast():
            if self.engine.gram_on == "features":
                features = self.model.represent(part.inputs)  # type: ignore[operator]
                predictions = self.model.predict(features)  # type: ignore[operator]
            else:
                predictions = self.model(part.inputs)
            losses = self.loss(predictions, part.targets)
        return {task: loss * part.share for task, loss in losses.items()}, features

    @torch.no_grad()
    def _observe_after(self, window: Iterable[MicroBatch]) -> None:
        """Tell a strategy that asks for it what the step made of the losses on its own samples."""
        if self.engine.strategy.wants_losses_after:
            parts = [self._losses(part)[0] for part in window]
            tasks = dict.fromkeys(task for losses in parts for task in losses)
            self.engine.observe_after(
                {task: torch.stack([losses[task] for losses in parts if task in losses]).sum() for task in tasks}
            )

    def _clip(self) -> float:
        """Shorten the gradient to `max_grad_norm`, where there is one, and return the factor."""
        limit = self.settings.max_grad_norm
        if limit is None:
            return 1.0
        norm = float(clip_grad_norm_(self.model.parameters(), limit))
        return limit / norm if norm > limit else 1.0

    def _end_epoch(self) -> None:
        epoch = self.sampler.epoch
        due = (epoch + 1) % self.settings.val_frequency == 0 or epoch + 1 == self.settings.epochs
        metrics = self.validate() if due else None
        self.engine.end_epoch()
        self.sampler.set_epoch(epoch + 1)
        if metrics is not None:
            best = self.selection.update(metrics[self.settings.model_selection_metric])
            for observer in self._observers:
                observer.on_validation(ValidationReport(epoch, self.step, metrics, best))
            if best:
                self._save(best=True)
        self._save()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the metrics of the validation data; nothing that the run depends on changes."""
        self.model.eval()
        self.metrics.reset()
        for inputs, targets in self._validation:
            with self.precision.autocast():
                predictions = self.model(inputs)
            self.metrics.update(predictions, targets)
            if self._stop():
                raise _StopAsked
        return self.metrics.compute()

    def _save(self, *, best: bool = False) -> None:
        if self._checkpoints is None:
            return
        for observer in self._observers:
            observer.on_save()
        self._checkpoints.save(self.state_dict(), best=best)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, the global random generators included."""
        return {
            "step": self.step,
            "micro_step": self.micro_step,
            "sampler": self.sampler.state_dict(),
            "model": self.model.state_dict(),
            "engine": self.engine.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.precision.scaler.state_dict() if self.precision.scaler else None,
            "selection": self.selection.state_dict(),
            "generators": generators_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; raise CheckpointError where that was of other data."""
        self.step = state["step"]
        self.micro_step = state["micro_step"]
        self.sampler.load_state_dict(state["sampler"])
        self.model.load_state_dict(state["model"])
        self.engine.load_state_dict(state["engine"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.precision.scaler:
            self.precision.scaler.load_state_dict(state["scaler"])
        self.selection.load_state_dict(state["selection"])
        load_generators_state(state["generators"])
