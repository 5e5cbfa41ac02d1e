"""One optimiser step that computes every task's gradient by itself: a row per task, a Gram matrix, a decision."""

import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from coral_mtl.engine.rows import Row, add_row, add_to_grad, combine, gram_matrix, harvest, is_finite, seed
from coral_mtl.engine.setting import Setting, account, host_values
from coral_mtl.engine.sharing import Trace
from coral_mtl.engine.step import Step
from coral_mtl.engine.strategy import Decision, Observation
from coral_mtl.engine.terms import Term


class Refresh:
    """Collects rows over the micro-batches of one step, then decides once."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.losses: dict[str, Tensor] = {}
        self.rows: dict[str, Row] = {}

    def add(self, terms: Sequence[Term]) -> None:
        """Take the rows of one micro-batch; the last backward pass frees the graph."""
        varying = [term for term in terms if term.root is not None]
        leaves = Trace(varying).all_leaves(self.setting.sharing)
        for term in terms:
            self.losses[term.name] = self.losses.get(term.name, 0.0) + term.value.double()
        for term in varying:
            start = seed(term, self.setting.scale)
            row = harvest(leaves, [term], [start], retain_graph=term is not varying[-1])
            add_row(self.rows.setdefault(term.name, {}), row)

    def close(self) -> Step:
        """Decide, fill `.grad`, and tell what was done."""
        setting = self.setting
        losses = host_values(self.losses)
        shared = setting.sharing.learn(self.rows)
        gram, precision = gram_matrix(list(self.rows.values()), _in_order(self.rows, shared))
        gram /= setting.host_scale**2
        tasks = tuple(self.rows)
        finite = self._finite(losses, shared, np.diag(gram))
        refused = {task: reason for task, reason in finite.items() if reason}
        if refused and setting.must_skip(refused, losses):
            return setting.skip(refused, losses)
        chosen = np.array([i for i, task in enumerate(tasks) if not finite[task]], dtype=int)
        if not chosen.size:
            return setting.skip(refused, losses)
        observation = Observation(
            tasks=tasks,
            losses=np.array([losses[task] for task in tasks]),
            gram=gram,
            precision=precision,
            step=setting.step,
        ).subset(chosen)
        started = time.perf_counter()
        decision = setting.decide(observation)
        seconds = time.perf_counter() - started
        self._apply(observation, decision, shared)
        return account(observation, decision, losses, refused, seconds)

    def _finite(self, losses: dict[str, float], shared: set[Tensor], squares: np.ndarray) -> dict[str, str]:
        """By task, why it must not be used: "" where loss and gradients are finite."""
        reasons = {}
        for (task, row), square in zip(self.rows.items(), squares, strict=True):
            own = {leaf: gradient for leaf, gradient in row.items() if leaf not in shared}
            if not np.isfinite(losses[task]):
                reasons[task] = "non-finite loss"
            else:
                reasons[task] = "" if np.isfinite(square) and is_finite(own) else "non-finite gradient"
        return reasons

    def _apply(self, observation: Observation, decision: Decision, shared: set[Tensor]) -> None:
        rows = [self.rows[task] for task in observation.tasks]
        self.rows = {}
        heads = self.setting.head_coefficients(decision)
        add_to_grad(combine(rows, shared, decision.coefficients.tolist(), heads))
        self.setting.add_parameter_gradients(observation)


def _in_order(rows: dict[str, Row], shared: set[Tensor]) -> list[Tensor]:
    """The shared parameters in the order in which the rows hold them: sums must not depend on the order of a set."""
    return list(dict.fromkeys(leaf for row in rows.values() for leaf in row if leaf in shared))
