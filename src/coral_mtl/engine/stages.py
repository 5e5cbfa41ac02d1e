"""What happens at certain times of a run: a fresh optimiser, the best weights back, other learning rates."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from coral_mtl.config.course import Stage
from coral_mtl.engine.optimizer import ScheduledOptimizer
from coral_mtl.schedules import Curve, Horizon, stage_begins
from coral_mtl.schedules.horizon import duration


class Stages:
    """The stages of a run, and the best weights of the present one where somebody may want them back.

    A run has one stage more than it has settings: the first needs none.
    """

    def __init__(
        self,
        settings: Sequence[Stage],
        run: Horizon,
        model: nn.Module,
        optimizer: ScheduledOptimizer,
        *,
        mode: Literal["max", "min"],
    ) -> None:
        """Start in the first stage.

        Args:
            settings: what happens at the beginning of the second stage, the third, ...
            run: how long the run is.
            model: whose weights are kept and brought back.
            optimizer: what is reset.
            mode: whether larger or smaller values of the selection metric are better.

        Raises:
            ConfigError: the stages do not begin one after the other within the run.
        """
        self._settings = list(settings)
        self._begins = [math.ceil(begin) for begin in stage_begins([stage.begin for stage in settings], run)]
        self._model = model
        self._optimizer = optimizer
        self._sign = 1.0 if mode == "max" else -1.0
        self.current = 0
        self.factor = 1.0
        self._rollbacks = 0
        self._best: float | None = None
        self._weights: dict[str, Tensor] | None = None

    def enter(self, step: int) -> str | None:
        """Begin the stage whose first optimiser step is next, if one is, and say what was done."""
        if self.current == len(self._begins) or step < self._begins[self.current]:
            return None
        stage = self._settings[self.current]
        self.current += 1
        done = [f"stage {self.current + 1} begins"]
        if stage.restore_best:
            done.append(self._restore())
        if stage.reset_optimizer:
            self._optimizer.optimizer.state.clear()
            done.append("optimiser reset")
        self._rollbacks = 0
        if not (stage.restore_best and stage.rollback):  # or else the restored weights are the first to fall back on
            self.forget()
        return ", ".join(done)

    def forget(self) -> None:
        """Take the next validation as the first of the stage."""
        self._best, self._weights = None, None

    def skip_to(self, step: int) -> None:
        """Take the stages that began before optimiser step `step` as begun."""
        self.current = sum(begin < step for begin in self._begins)

    def observe(self, value: float) -> str | None:
        """Take in the selection metric of a validation; undo divergence where it shows, and say so."""
        if self._best is None or self._sign * (value - self._best) > 0.0:
            self._keep(value)
            return None
        rollback = self._settings[self.current - 1].rollback if self.current else None
        if rollback is None or self._rollbacks == rollback.at_most:
            return None
        if self._sign * (self._best - value) <= rollback.margin:
            return None
        self._rollbacks += 1
        self.factor *= rollback.lr_factor
        self._optimizer.optimizer.state.clear()
        return f"rollback {self._rollbacks} of {rollback.at_most}, {self._restore()}, optimiser reset"

    def _keep(self, value: float) -> None:
        """Note the best validation of the stage, and its weights if they may be wanted."""
        if math.isnan(value):
            return
        self._best = value
        ahead = self.current < len(self._settings) and self._settings[self.current].restore_best
        if ahead or (self.current and self._settings[self.current - 1].rollback):
            self._weights = copy.deepcopy(self._model.state_dict())

    def _restore(self) -> str:
        if self._weights is None:
            return "nothing to restore: no validation in the stage before"
        self._model.load_state_dict(self._weights)
        return f"weights of the best validation restored ({self._best:g})"

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, the kept weights included."""
        return {
            "current": self.current,
            "factor": self.factor,
            "rollbacks": self._rollbacks,
            "best": self._best,
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.current, self.factor, self._rollbacks = state["current"], state["factor"], state["rollbacks"]
        self._best, self._weights = state["best"], state["weights"]


def staged(factor: Callable[[int], float], settings: Sequence[Stage], run: Horizon) -> Curve:
    """Return a factor on learning rates times those of the stages: `lr_factor` from each on, and a rise from 0.

    A stage that begins at step B and warms up for R steps multiplies with (step - B + 1) / (R + 1) before B + R.
    """
    begins = stage_begins([stage.begin for stage in settings], run)
    rises = [0.0 if stage.rewarm is None else duration(stage.rewarm).steps(run) for stage in settings]

    def value(step: float) -> float:
        product = factor(int(step))
        for begin, rise, stage in zip(map(math.ceil, begins), rises, settings, strict=True):
            if step >= begin:
                product *= stage.lr_factor * min(1.0, (step - begin + 1) / (rise + 1))
        return product

    return value
