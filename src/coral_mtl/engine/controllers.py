"""What follows the selection metric or the clock of a run: the best epoch, patience, stages, lower learning rates."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from coral_mtl.config.course import Plateau as PlateauSettings
from coral_mtl.config.sections import Trainer as Settings
from coral_mtl.engine.optimizer import ScheduledOptimizer
from coral_mtl.engine.selection import ModelSelection
from coral_mtl.engine.stages import Stages
from coral_mtl.schedules import Horizon
from coral_mtl.schedules.controllers import Plateau


class Controllers:
    """The rules with a memory that a trainer asks before each step and after each validation.

    Both calls return what was done, in words, for the log.
    """

    def __init__(
        self,
        settings: Settings,
        plateau: PlateauSettings | None,
        run: Horizon,
        model: nn.Module,
        optimizer: ScheduledOptimizer,
    ) -> None:
        """Start with no validation seen.

        Raises:
            ConfigError: the stages do not fit the run.
        """
        stopping, mode = settings.early_stopping, settings.metric_mode
        self.selection = ModelSelection(
            mode=mode,
            patience=stopping.patience if stopping else None,
            min_delta=stopping.min_delta if stopping else 0.0,
        )
        self.stages = Stages(settings.stages, run, model, optimizer, mode=mode)
        self.plateau = Plateau(mode=mode, **plateau.model_dump()) if plateau else None
        self._optimizer = optimizer

    def before_step(self, step: int) -> list[str]:
        """Begin the stage that optimiser step `step` is the first of; patience begins anew with it."""
        begun = self.stages.enter(step)
        if begun is None:
            return []
        self.selection.forgive()
        return [begun]

    def after_validation(self, value: float) -> tuple[bool, list[str]]:
        """Take in the selection metric; return whether it is the best so far, and what was done."""
        best = self.selection.update(value)
        done = [note for note in (self.stages.observe(value),) if note]
        if self.plateau and self.plateau.update(value):
            done.append(f"no progress: learning rates times {self.plateau.factor:g} from here on")
        if self.scale != self._optimizer.scale:
            self._optimizer.rescale(self.scale)
        return best, done

    @property
    def scale(self) -> float:
        """What all reductions so far multiply learning rates by."""
        return self.stages.factor * (self.plateau.factor if self.plateau else 1.0)

    def fork(self, step: int, *, other_metric: bool) -> None:
        """Begin in the middle of another run, after `step` steps, with stages, patience and rates of its own.

        With `other_metric` no figure of the selection metric so far counts for anything; reductions of the learning
        rates stay.
        """
        self.stages.skip_to(step)
        self.selection.forgive()
        if other_metric:
            self.selection.best = None
            self.stages.forget()
            if self.plateau:
                self.plateau.forget()
        self._optimizer.rescale(self.scale)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "selection": self.selection.state_dict(),
            "stages": self.stages.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; a plateau that was not there before begins anew."""
        self.selection.load_state_dict(state["selection"])
        self.stages.load_state_dict(state["stages"])
        if self.plateau and state["plateau"]:
            self.plateau.load_state_dict(state["plateau"])
        self._optimizer.scale = self.scale
