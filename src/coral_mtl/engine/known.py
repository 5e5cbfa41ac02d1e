"""One optimiser step whose coefficients are known before the backward pass: one backward for any number of tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from coral_mtl.engine.arriving import Arriving, Figures, figures, vector
from coral_mtl.engine.frontier import backward_known
from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.rows import Row, add_row, add_to_grad, is_finite
from coral_mtl.engine.setting import Setting, account, add_losses
from coral_mtl.engine.step import Step
from coral_mtl.engine.terms import Term


class Known:
    """Runs one backward per micro-batch, with coefficients from the strategy's state and the losses.

    Where neither the strategy nor the setting waits for the losses, they are left on their way to the host.
    """

    def __init__(self, setting: Setting, needs: Needs) -> None:
        self.setting = setting
        self.needs = needs
        self.looks = setting.waits or needs > Needs.NOTHING or bool(setting.strategy.parameters())
        self.losses: dict[str, Tensor] = {}
        self.seen: dict[str, float] = {}  # the same on the host, where they are looked at
        self.update: Row = {}
        self.refused: dict[str, str] = {}
        self.uncached: dict[str, str] = {}
        self.state = setting.strategy.state_dict()
        self.decided: tuple[Observation, Decision] | None = None
        self.tasks: dict[str, None] = {}  # those that a micro-batch was decided on
        self.micro_batches = 0
        self.seconds = 0.0

    def add(self, terms: Sequence[Term]) -> None:
        """Decide from the state at the beginning of the step, and run one backward with the decision."""
        self.micro_batches += 1
        if self.decided is not None:
            self.setting.strategy.load_state_dict(self.state)
        add_losses(self.losses, terms)
        values = self._look(terms) if self.looks else dict.fromkeys((term.name for term in terms), np.nan)
        self.refused |= self.setting.refused_at_predictions()
        if self.refused and self.setting.must_skip(self.refused, self.seen if self.looks else values):
            return
        usable = [term for term in terms if term.root is not None and term.name not in self.refused]
        if self.micro_batches > 1:
            usable = self._known(usable)
        if usable:
            self._backward(usable, values)

    def _known(self, terms: Sequence[Term]) -> list[Term]:
        """The terms whose tasks ask for no more than the first micro-batch's did."""
        new = {term.name for term in terms if self.setting.strategy.needs_now([term.name]) > self.needs}
        self.uncached |= dict.fromkeys(new, "first seen in the middle of a step")
        return [term for term in terms if term.name not in new]

    def _look(self, terms: Sequence[Term]) -> Mapping[str, float]:
        """Wait for the losses of a micro-batch, and refuse those that are not finite."""
        values = figures({term.name: term.value for term in terms})
        for name, value in values.items():
            self.seen[name] = self.seen.get(name, 0.0) + value
            if not np.isfinite(value):
                self.refused[name] = "non-finite loss"
        return values

    def _backward(self, terms: Sequence[Term], values: Mapping[str, float]) -> None:
        setting = self.setting
        observation = Observation(
            tasks=tuple(term.name for term in terms),
            losses=np.array([values[term.name] for term in terms]),
            step=setting.step,
            prediction_norms=setting.prediction_norms([term.name for term in terms]),
        )
        decision, seconds = setting.decide(observation)
        self.seconds += seconds
        self.decided = observation, decision
        self.tasks |= dict.fromkeys(observation.tasks)
        shared, own = decision.coefficients.tolist(), setting.head_coefficients(decision)
        moving = [i for i in range(len(terms)) if shared[i] or own[i]]  # what has weight 0 is not differentiated
        if moving:
            chosen, (shared, own) = [terms[i] for i in moving], ([f[i] for i in moving] for f in (shared, own))
            add_row(self.update, backward_known(chosen, shared, own, setting.sharing, setting.scale))

    def close(self) -> Step:
        """Fill `.grad`, and tell what was done.

        A refused task of which an earlier micro-batch's gradient is in the sum skips the step: the sum cannot be taken
        apart.
        """
        setting = self.setting
        added_up = self.refused.keys() & self.tasks.keys()
        if self.decided is None or added_up or (self.refused and setting.must_skip(self.refused, self.seen)):
            return self._skip()
        observation, decision = self.decided if self.micro_batches == 1 else self._decided_for_all(self.decided[0])
        losses: Mapping[str, float] = self.seen
        finite = None
        if not setting.waits:
            finite = Arriving([vector(list(self.losses.values())), setting.disarm(self.update, self.losses)])
            losses = Figures(tuple(self.losses), finite)
        elif not is_finite(self.update):
            self.refused = self._blame(observation)
            setting.strategy.load_state_dict(self.state)
            setting.must_skip(self.refused, losses)  # raises if asked to; the sum cannot be taken apart
            return self._skip()
        add_to_grad(self.update)
        if self.looks:
            setting.add_parameter_gradients(observation)
        left_out = self.refused | self.uncached
        return account(observation, decision, losses, left_out, self.seconds, finite=finite)

    def _decided_for_all(self, last: Observation) -> tuple[Observation, Decision]:
        """The decision on the tasks of all micro-batches together, each of which had one on its own tasks."""
        tasks, setting = tuple(self.tasks), self.setting
        setting.strategy.load_state_dict(self.state)
        observation = replace(
            last,
            tasks=tasks,
            losses=np.array([self.seen.get(task, np.nan) for task in tasks]),
            prediction_norms=setting.prediction_norms(tasks),
        )
        decision, seconds = setting.decide(observation)
        self.seconds += seconds
        return observation, decision

    def _skip(self) -> Step:
        self.setting.strategy.load_state_dict(self.state)
        return self.setting.skip(self.refused, self.seen if self.looks else figures(self.losses))

    def _blame(self, observation: Observation) -> dict[str, str]:
        """Name the tasks whose own parameters got a non-finite gradient, or all tasks where only shared ones did."""
        owners = {
            self.setting.sharing.owner(leaf)
            for leaf, gradient in self.update.items()
            if not is_finite({leaf: gradient})
        }
        guilty = [task for task in observation.tasks if task in owners] or list(observation.tasks)
        return dict.fromkeys(guilty, "non-finite gradient")
