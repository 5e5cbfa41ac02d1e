"""The heart: named losses go in, one well-chosen gradient comes out in `.grad`, and what happened is returned."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from coral_mtl.engine.arriving import figures
from coral_mtl.engine.features import FeatureRefresh
from coral_mtl.engine.ghost import RowForm, ghost_rows
from coral_mtl.engine.known import Known
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.predictions import Predictions
from coral_mtl.engine.refresh import Refresh
from coral_mtl.engine.refusals import explained_errors, refuse_optimizers_inside, refuse_parallel
from coral_mtl.engine.setting import NonFinite, Setting, Specific
from coral_mtl.engine.sharing import Sharing
from coral_mtl.engine.skips import Skips
from coral_mtl.engine.step import WEIGHTLESS, Space, Step
from coral_mtl.engine.strategy import Strategy
from coral_mtl.engine.terms import Losses, Term, named_terms
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Horizon

Window = Refresh | FeatureRefresh | Known


class Engine:
    """Takes the place of `sum(losses).backward()` in a training loop.

    ```python
    engine = Engine(NashMTL(update_frequency=10), model)
    for batch in loader:
        losses = {"left": ..., "right": ...}
        optimizer.zero_grad()
        step = engine.backward(losses)
        optimizer.step()
    ```

    Shared parameters (those that two tasks or more reach) get the strategy's direction sum_t c_t g_t; the others get
    their own task's gradient.
    """

    def __init__(
        self,
        strategy: Strategy,
        model: nn.Module | Iterable[Tensor] = (),
        *,
        tasks: Sequence[str] | None = None,
        run: Horizon | None = None,
        shared: Iterable[Tensor] | None = None,
        specific: Specific = "plain",
        nonfinite: NonFinite = "skip",
        gram_on: Space = "parameters",
        rows: RowForm = "auto",
        row_dtype: torch.dtype | None = None,
    ) -> None:
        """Bind a strategy to a model.

        Args:
            strategy: the balancing method.
            model: the module whose parameters are trained, or the parameters themselves. Any other leaf tensor that
                the losses reach gets its gradient too; the model gives names, and memory of what is shared.
            tasks: the names of all tasks; needed for strategies with learned parameters (Uncertainty) and for losses
                that come without names.
            run: how long the run is; needed for options of a strategy that follow a schedule.
            shared: the shared parameters, where the automatic choice is not wanted. All others then get the plain sum
                of the tasks' gradients.
            specific: what a task's own parameters see: its own gradient, times its loss weight where a loss weighting
                is used ("plain"), or times its coefficient ("weighted").
            nonfinite: what to do about a non-finite loss or gradient: skip the step, raise TrainingError, or drop the
                task from this step and solve for the others ("drop"; with a single backward, a gradient that is found
                non-finite after the tasks were added up skips the step all the same).
            gram_on: the space in which a strategy sees the gradients: that of the shared parameters, or that of a
                shared representation, which `backward` is then given as `features` (one backward of the trunk, cheap;
                what a strategy promises then holds in that space only).
            rows: "stored" keeps one gradient per task of every shared parameter; "auto" does without those of the
                layers where exact inner products come cheaper (see ghost.py), "ghost" without all that it can.
            row_dtype: hold stored rows in this type, such as torch.bfloat16: half the memory, for a relative error of
                1e-3 in the direction. The combination is formed in the parameters' own type.

        Raises:
            ConfigError: a schedule among the strategy's options does not fit the run.
            StrategyError: `shared` is empty, the model is wrapped in DistributedDataParallel, or `gram_on="features"`
                is asked for with a strategy that works on the coordinates of the parameters' gradients.
        """
        refuse_parallel(model)
        named = dict(model.named_parameters()) if isinstance(model, nn.Module) else _by_position(model)
        given = None if shared is None else list(shared)
        if given is not None and not given:
            raise StrategyError("shared= is empty: name the shared parameters, or leave it out to have them found")
        if given is not None and gram_on == "features":
            raise StrategyError('shared= has no effect with gram_on="features": what is behind the features is shared')
        by_coordinates = (strategy.needs is Needs.ROWS or strategy.batches > 1) and not strategy.rows_on_features
        if gram_on == "features" and by_coordinates:
            raise StrategyError(f'{type(strategy).__name__} works on parameters\' gradients: take gram_on="parameters"')
        self.strategy = strategy
        self.tasks = None if tasks is None else tuple(tasks)
        self._skips = Skips()
        self._specific: Specific = specific
        self._nonfinite: NonFinite = nonfinite
        self.gram_on: Space = gram_on
        self._row_dtype = row_dtype
        self._sharing = Sharing(named, given)
        self.rows: RowForm = rows
        self._ghost = ghost_rows(model, rows, from_gram=strategy.needs < Needs.ROWS)
        self._window: Window | None = None
        self._steps = 0
        self._known_tasks: list[str] = list(tasks or ())
        if run is not None:
            strategy.begin(run)
        if self.tasks is not None:
            strategy.bind(self.tasks)

    def backward(
        self,
        losses: Losses,
        *,
        scaler: GradScaler | None = None,
        accumulate: bool = False,
        measure: bool = False,
        features: Tensor | Sequence[Tensor] | None = None,
        predictions: Predictions | None = None,
    ) -> Step:
        """Add this step's gradients to `.grad` and return the account of it.

        Args:
            losses: scalar losses by task name; or a list, or a `torch.stack` of them, in the order of `tasks`. A
                micro-batch of an accumulated step may have none, {}.
            scaler: the GradScaler of the loop, if it has one. `.grad` comes out scaled as after
                `scaler.scale(loss).backward()`, so the loop's unscale_, step and update stay as they are.
            accumulate: this is a micro-batch and not the last of its step. Divide the losses by the number of
                micro-batches, as always. The strategy decides once, at the call without `accumulate`, on the gradients
                of the whole batch; `.grad` is filled then.
            measure: compute the Gram matrix also where the strategy does not need it (one backward per task).
            features: with `gram_on="features"`, the shared representation as the trunk returned it, or several tensors
                that together carry everything the heads take from the trunk.
            predictions: what the model returned, one tensor or several by any name, for strategies that look at the
                losses' gradients there (`GradientNormalised(at="prediction")`); others do without it.

        Raises:
            StrategyError: the losses are not scalars, unknown, or do not depend on any parameter; `features` is
                missing, not asked for, or bypassed; `predictions` are missing, or a loss does not depend on them.
            TrainingError: a non-finite loss or gradient, under `nonfinite="raise"`.
        """
        if self._window is not None and isinstance(losses, Mapping) and not losses:
            return Step(accumulating=True) if accumulate else self._closed(self._window, ())
        terms = named_terms(losses, self.tasks)
        if all(term.root is None for term in terms):
            raise StrategyError("no loss depends on a parameter: was the forward pass run under no_grad, or detached?")
        refuse_optimizers_inside(self._sharing.trainable())
        if features is not None and self.gram_on != "features":
            raise StrategyError('features has no effect: build the engine with gram_on="features"')
        window = self._window or self._open(terms, scaler, accumulate, measure)
        self._window = None  # an exception from here on ends the step: nothing half-accumulated stays behind
        in_use = isinstance(window, Refresh) and window.ghost is not None
        watched = nullcontext() if self._ghost is None else self._ghost.backward_pass(in_use=in_use)
        with watched, explained_errors():
            window.setting.look_at_predictions(terms, predictions)
            if isinstance(window, FeatureRefresh):
                window.add(terms, features)
            else:
                window.add(terms)
        if accumulate:
            self._window = window
            return Step(losses=figures({term.name: term.value for term in terms}), accumulating=True)
        return self._closed(window, terms)

    def _open(self, terms: Sequence[Term], scaler: GradScaler | None, accumulate: bool, measure: bool) -> Window:
        device = terms[0].value.device
        scaled = scaler is not None and scaler.is_enabled()
        scale = scaler.scale(torch.ones((), device=device)) if scaler is not None and scaled else 1.0
        needs = self.strategy.needs_now([term.name for term in terms if term.root is not None])
        setting = Setting(
            strategy=self.strategy,
            sharing=self._sharing,
            specific=self._specific,
            nonfinite=self._nonfinite,
            scale=scale,
            step=self._steps,
            waits=device.type == "cpu" or self._nonfinite != "skip",
            row_type=self._row_dtype,
            prediction_squares={} if self.strategy.wants_predictions and needs is not Needs.NOTHING else None,
        )
        known_beforehand = needs is Needs.NOTHING or (needs is Needs.LOSSES and not accumulate)
        if known_beforehand and not measure:
            return Known(setting, needs)
        if self.gram_on == "features":
            return FeatureRefresh(setting)
        return Refresh(setting, None if accumulate else self._ghost)

    def _closed(self, window: Window, terms: Sequence[Term]) -> Step:
        """End the step, count it, and list the tasks that were left out of it because they are absent or constant."""
        self._window = None
        step = window.close()
        if step.skipped and window.setting.scaled:
            window.setting.show_overflow(terms)
        self._known_tasks += [task for task in step.losses if task not in self._known_tasks]
        idle = self.strategy.idle_tasks(self._steps)
        absent = {t: WEIGHTLESS if t in idle else "absent" for t in self._known_tasks if t not in step.losses}
        constant = {t: "constant" for t in step.losses if t not in step.weights and t not in step.inactive}
        self._skips.note(step)
        self._steps += not step.skipped
        left_out = absent | ({} if step.skipped else constant)
        return replace(step, inactive=step.inactive | left_out) if left_out else step

    @property
    def skipped_in_a_row(self) -> int:
        """How many of the last steps were skipped one after the other, as far as the device has told."""
        return self._skips.count()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups of the strategy's own learned parameters (an empty list for most strategies)."""
        return self.strategy.parameter_groups()

    def shared_parameters(self) -> list[str]:
        """Names of the shared parameters, known after the first step that computed gradients by task."""
        return self._sharing.shared_names()

    def task_parameters(self) -> dict[str, list[str]]:
        """Names of each task's own parameters, known after the first step that computed gradients by task."""
        return self._sharing.task_names()

    def observe_after(self, losses: Mapping[str, Tensor]) -> None:
        """Tell the strategy the losses of the same batch after `optimizer.step()`, where it `wants_losses_after`."""
        values = figures(losses)
        self.strategy.observe_after(Observation(tuple(values), np.array(list(values.values())), step=self._steps))

    def stored_layers(self) -> dict[str, str]:
        """Linear and Conv2d layers whose rows were stored at the last refresh, each with the reason (see `rows`)."""
        return {} if self._ghost is None else dict(self._ghost.reasons)

    def ghost_layers(self) -> list[str]:
        """Linear and Conv2d layers that did without stored rows at the last refresh (see `rows`)."""
        return [] if self._ghost is None else self._ghost.names(self._ghost.taken)

    def ghost_forecast(self, tasks: int) -> list[str]:
        """Layers that will do without stored rows at a refresh with `tasks` tasks, as far as the last one tells."""
        return [] if self._ghost is None else self._ghost.names(self._ghost.forecast(self._sharing.shared, tasks))

    def row_bytes(self, tasks: int) -> int:
        """Memory of the stored rows of `tasks` tasks on the parameters known to be shared, in bytes, the first of which
        becomes the direction; layers that will do without (`ghost_forecast`) are left out.
        """
        layers = [] if self._ghost is None else self._ghost.forecast(self._sharing.shared, tasks)
        ghosts = {layer.weight for layer in layers}
        width = None if self._row_dtype is None else self._row_dtype.itemsize
        shared = [p for p in self._sharing.trainable() if p in self._sharing.shared and p not in ghosts]
        return tasks * sum(parameter.numel() * (width or parameter.element_size()) for parameter in shared)

    def end_epoch(self) -> None:
        """Tell the strategy that an epoch is over (DWA averages over epochs)."""
        self.strategy.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs, loadable with `weights_only=True`; taken between optimiser steps.

        Raises:
            StrategyError: in the middle of an accumulated step.
        """
        if self._window is not None:
            raise StrategyError(
                "state_dict was called in the middle of an accumulated step: call it after the last one"
            )
        return {
            "strategy": self.strategy.state_dict(),
            "sharing": self._sharing.state_dict(),
            "steps": self._steps,
            "skipped_in_a_row": self._skips.count(wait=True),
            "known_tasks": list(self._known_tasks),
            "never_ghosts": {} if self._ghost is None else self._ghost.never(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.strategy.load_state_dict(state["strategy"])
        self._sharing.load_state_dict(state["sharing"])
        self._steps = state["steps"]
        self._skips.restore(state["skipped_in_a_row"])
        self._known_tasks = list(state["known_tasks"])
        if self._ghost is not None:
            self._ghost.rule_out(state["never_ghosts"])
        self._window = None


def backward(
    losses: Losses, strategy: Strategy, *, shared: Iterable[Tensor] | None = None, scaler: GradScaler | None = None
) -> Step:
    """Add one step's gradients to `.grad`: `Engine.backward` in one call, which judges sharing by this step alone."""
    return Engine(strategy, shared=shared).backward(losses, scaler=scaler)


def _by_position(parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    return {f"parameter_{index}": parameter for index, parameter in enumerate(parameters)}
