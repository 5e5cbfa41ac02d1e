"""One optimiser step whose coefficients are known before the backward pass: one backward for any number of tasks."""

import time
from collections.abc import Sequence

import numpy as np

from coral_mtl.engine.frontier import backward_known
from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.rows import Row, add_row, add_to_grad, is_finite
from coral_mtl.engine.setting import Setting, account, host_values
from coral_mtl.engine.step import Step
from coral_mtl.engine.terms import Term


class Known:
    """Runs one backward per micro-batch, with coefficients from the strategy's state and the losses."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.losses: dict[str, float] = {}
        self.update: Row = {}
        self.refused: dict[str, str] = {}
        self.uncached: dict[str, str] = {}
        self.state = setting.strategy.state_dict()
        self.decided: tuple[Observation, Decision] | None = None
        self.seconds = 0.0

    def add(self, terms: Sequence[Term]) -> None:
        """Decide from the state at the beginning of the step, and run one backward with the decision."""
        if self.decided is not None:
            self.setting.strategy.load_state_dict(self.state)
        values = host_values({term.name: term.value for term in terms})
        for name, value in values.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.refused |= {name: "non-finite loss" for name, value in values.items() if not np.isfinite(value)}
        if self.refused and self.setting.must_skip(self.refused, values):
            return
        usable = [term for term in terms if term.root is not None and term.name not in self.refused]
        known = [term for term in usable if self.setting.strategy.needs_now([term.name]) < Needs.GRAM]
        self.uncached |= {t.name: "first seen in the middle of a step" for t in usable if t not in known}
        if known:
            self._backward(known, values)

    def _backward(self, terms: Sequence[Term], values: dict[str, float]) -> None:
        setting = self.setting
        observation = Observation(
            tasks=tuple(term.name for term in terms),
            losses=np.array([values[term.name] for term in terms]),
            step=setting.step,
        )
        started = time.perf_counter()
        decision = setting.decide(observation)
        self.seconds += time.perf_counter() - started
        self.decided = observation, decision
        heads = setting.head_coefficients(decision)
        row = backward_known(terms, decision.coefficients.tolist(), heads, setting.sharing, setting.scale)
        add_row(self.update, row)

    def close(self) -> Step:
        """Fill `.grad`, and tell what was done."""
        setting = self.setting
        if self.decided is None or (self.refused and setting.must_skip(self.refused, self.losses)):
            return self._skip()
        observation, decision = self.decided
        if not is_finite(self.update):
            self.refused = self._blame(observation)
            setting.must_skip(self.refused, self.losses)  # raises if asked to; the sum cannot be taken apart
            return self._skip()
        add_to_grad(self.update)
        whole = Observation(
            tasks=observation.tasks,
            losses=np.array([self.losses[task] for task in observation.tasks]),
            step=setting.step,
        )
        setting.add_parameter_gradients(whole)
        return account(whole, decision, self.losses, self.refused | self.uncached, self.seconds)

    def _skip(self) -> Step:
        self.setting.strategy.load_state_dict(self.state)
        return self.setting.skip(self.refused, self.losses)

    def _blame(self, observation: Observation) -> dict[str, str]:
        """Name the tasks whose own parameters got a non-finite gradient, or all tasks where only shared ones did."""
        owners = {
            self.setting.sharing.owner(leaf)
            for leaf, gradient in self.update.items()
            if not is_finite({leaf: gradient})
        }
        guilty = [task for task in observation.tasks if task in owners] or list(observation.tasks)
        return dict.fromkeys(guilty, "non-finite gradient")
