"""The training loop, for any model, loss and strategy."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from torch import nn

from coral_mtl.config.course import Plateau
from coral_mtl.config.sections import Trainer as Settings
from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.engine.batches import Batch, Batches, MicroBatch, Splits, run_length, window
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.engine.controllers import Controllers
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.forward import Forward
from coral_mtl.engine.optimizer import ScheduledOptimizer, clip_gradient
from coral_mtl.engine.precision import Precision
from coral_mtl.engine.randomness import deterministic_algorithms, generators_state, load_generators_state
from coral_mtl.engine.reports import Observer, StepReport, ValidationReport
from coral_mtl.engine.restraints import Restraints
from coral_mtl.engine.snapshots import Snapshots
from coral_mtl.engine.step import Step
from coral_mtl.engine.validation import validate
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.inference import Inference, WholeImage
from coral_mtl.losses.objective import Objective
from coral_mtl.metrics import Metrics
from coral_mtl.parameters import Treatment, keep_frozen_in_eval

NOTHING = "no task has a label and a weight in this batch"
"""The reason of a skipped step that ran no backward pass."""


class Outcome(StrEnum):
    """How `Trainer.fit` ended."""

    FINISHED = "finished"
    STOPPED_EARLY = "stopped early"
    INTERRUPTED = "interrupted"


class _StopAsked(Exception):  # noqa: N818 - nothing went wrong
    """The caller asked for a stop; a checkpoint written now takes the run up again exactly here."""


class Trainer:
    """Trains, validates, selects the best epoch and saves; a run that is loaded again goes on bit for bit."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        engine: Engine,
        optimizer: ScheduledOptimizer,
        data: Splits,
        *,
        metrics: Metrics,
        settings: Settings,
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        gradient_every: int = 50,
        restraints: Restraints | None = None,
        plateau: Plateau | None = None,
        treatments: Mapping[str, Treatment] | None = None,
        inference: Inference | None = None,
        validation_batch_size: int | None = None,
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
            gradient_every: steps between measurements of gradients and restraints for the diagnostics (default 50).
            restraints: regularisers and constraints on the model's parameters (default: none).
            plateau: the section `optimizer.plateau` of a configuration (default: none).
            treatments: which parameters are frozen, by name (default: none).
            inference: how the model is given the inputs of a validation (default: as they are).
            validation_batch_size: samples in a batch of a validation (default: `batch_size`).
            checkpoints: where to save; None saves nothing (default None).
            observers: told of every step, validation and checkpoint.

        Raises:
            ConfigError: `settings.model_selection_metric` is none of the metrics, stages do not fit the run, or
                gradients are to be compared on features that the model does not show.
        """
        if settings.model_selection_metric not in metrics.names:
            raise ConfigError(
                f'no metric called "{settings.model_selection_metric}" to select the model by\n'
                f"    this run produces: {', '.join(metrics.names)}",
                option="model_selection_metric",
            )
        self.model = model
        self.engine = engine
        self.optimizer = optimizer.optimizer
        self.schedule = optimizer.schedule
        self.metrics = metrics
        self.settings = settings
        self.device = next(model.parameters()).device
        self.precision = Precision(
            self.device, settings.mixed_precision_dtype if settings.use_mixed_precision else "float32"
        )
        self.restraints = restraints or Restraints()
        self._forward = Forward(model, objective, self.precision, engine.gram_on)
        self._treatments = treatments or {}
        self.sampler = ResumableSampler(len(data.train), seed=seed)  # type: ignore[arg-type]
        in_order = ResumableSampler(len(data.validation), shuffle=False)  # type: ignore[arg-type]
        batches = partial(Batches, num_workers=num_workers, device=self.device)
        self._training = batches(
            data.train, self.sampler, batch_size=batch_size, tasks=metrics.tasks, ignored=objective.ignored_by_task
        )
        self._validation = batches(data.validation, in_order, batch_size=validation_batch_size or batch_size)
        self._inference = inference or WholeImage()
        self._batch_size = batch_size
        self._window_size = batch_size * settings.gradient_accumulation_steps
        run = run_length(self.sampler.length, self._window_size, settings.epochs)
        self.controllers = Controllers(settings, plateau, run, model, optimizer)
        self._snapshots = Snapshots(model, metrics.tasks, settings.snapshots)
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
                while self.sampler.epoch < self.settings.epochs and not self.controllers.selection.exhausted:
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

    @property
    def clock(self) -> int:
        """Optimiser steps applied so far, by which all schedules go; skipped steps do not count."""
        return self.schedule.last_epoch

    def _train_epoch(self) -> None:
        self.model.train()
        keep_frozen_in_eval(self.model, self._treatments)
        batches = iter(self._training)
        while not self.validation_due:
            self._note(self.controllers.before_step(self.clock))
            report = self.take_step(batches)
            for observer in self._observers:
                observer.on_step(report)
            if self.engine.skipped_in_a_row >= self.settings.max_nonfinite_steps:
                raise TrainingError(
                    f"step {self.step}: {self.engine.skipped_in_a_row} steps in a row were skipped; this one: "
                    f"{report.account.settled().skipped}\n    no parameter was harmed; look at that task's data and "
                    "loss, lower the learning rate, or clip with trainer.max_grad_norm"
                )
            if self.step % self.settings.checkpoint_every == 0:
                self._save()
            self._stop_if_asked()

    def take_step(self, batches: Iterator[Batch]) -> StepReport:
        """One optimiser step: losses -> their one gradient -> restraints -> unscale -> clip -> update -> clock."""
        clock, lr = self.clock, float(self.schedule.get_last_lr()[0])
        measure = self.step % self._gradient_every == 0
        without = self.engine.strategy.idle_tasks(clock)
        figures: dict[str, Any] = {}
        self.optimizer.zero_grad()
        samples = min(self._window_size, self.sampler.length - self.sampler.position)
        window = self._window(batches, samples)
        account = self._backward(window, without, measure=measure)
        if not account.skipped:
            self.restraints.add_gradients(clock, self.precision.scale)
            self.restraints.before_step()
        clip_factor = 1.0
        if account.skipped != NOTHING:
            self.precision.unscale(self.optimizer)
            clip_factor = clip_gradient(self.model.parameters(), self.settings.max_grad_norm)
            self.precision.step(self.optimizer)
        if not account.skipped:
            self.restraints.after_step(clock, self.optimizer)
            figures = self.restraints.figures(clock) if measure else {}
            if self.engine.strategy.wants_losses_after:
                self.engine.observe_after(self._forward.total(window, clock, without))
            self.schedule.step()
        self.sampler.skip(samples)
        self.step += 1
        saved = self._forward.saved_bytes
        return StepReport(self.step, self.micro_step, self.sampler.epoch, account, lr, clip_factor, saved, figures)

    def _window(self, batches: Iterator[Batch], samples: int) -> Iterable[MicroBatch]:
        """The micro-batches of the next step."""
        strategy = self.engine.strategy
        found = window(batches, samples=samples, batch_size=self._batch_size, at_least=strategy.batches)
        return list(found) if strategy.wants_losses_after else found

    def _backward(self, window: Iterable[MicroBatch], without: Collection[str], *, measure: bool) -> Step:
        account = Step(skipped=NOTHING)
        begun = False
        for part in window:
            losses, seen = self._forward(part, self.clock, without)
            begun = begun or bool(losses)
            if begun:
                account = self.engine.backward(
                    losses, scaler=self.precision.scaler, accumulate=not part.last, measure=measure, **seen
                )
            self.micro_step += 1
        return account

    def _end_epoch(self) -> None:
        epoch = self.sampler.epoch
        last = epoch + 1 == self.settings.epochs
        due = (epoch + 1) % self.settings.val_frequency == 0 or last
        metrics = self.validate() if due else None
        if metrics is not None and last and self._snapshots:
            metrics |= {f"ensemble.{k}": figure for k, figure in self.validate(self._snapshots.ensemble()).items()}
        self._snapshots.after_epoch(epoch + 1)
        self.engine.end_epoch()
        self.sampler.set_epoch(epoch + 1)
        if metrics is not None:
            best, done = self.controllers.after_validation(metrics[self.settings.model_selection_metric])
            self.engine.strategy.observe_validation(metrics)
            for observer in self._observers:
                observer.on_validation(ValidationReport(epoch, self.step, metrics, best))
            self._note(done)
            if best:
                self._save(best=True)
        self._save()

    def _note(self, done: Iterable[str]) -> None:
        for note in done:
            for observer in self._observers:
                observer.on_note(f"step {self.step}: {note}")

    def validate(self, model: nn.Module | None = None) -> dict[str, float]:
        """Return the metrics of the validation data, of another model where one is given; the run does not notice."""
        return validate(
            model or self.model,
            self._validation,
            self.metrics,
            precision=self.precision,
            inference=self._inference,
            after_batch=self._stop_if_asked,
        )

    def _stop_if_asked(self, *batch: object) -> None:
        if self._stop():
            raise _StopAsked

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
            **{name: part.state_dict() for name, part in self._parts().items()},
            "generators": generators_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; raise CheckpointError where that was of other data."""
        self.step = state["step"]
        self.micro_step = state["micro_step"]
        for name, part in self._parts().items():
            if name != "scaler" or name in state:  # a fork may be the first to scale its gradients
                part.load_state_dict(state[name])
        load_generators_state(state["generators"])

    def _parts(self) -> dict[str, Any]:
        """The parts with a state of their own."""
        parts = {
            "sampler": self.sampler,
            "model": self.model,
            "engine": self.engine,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "controllers": self.controllers,
            "restraints": self.restraints,
            "snapshots": self._snapshots,
        }
        return parts | ({"scaler": self.precision.scaler} if self.precision.scaler else {})
