"""ExcessMTL: weight goes to the tasks that are farthest from convergence, measured by their gradients' decline."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.coordinates import widened
from coral_mtl.engine.loss_weighting.softmax import softmax
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, State
from coral_mtl.options import NonNegative, Positive, PositiveInt


@registry.strategies.register
class ExcessMTL(GradientStrategy):
    """A convex combination of the gradients whose weights grow exponentially with the tasks' estimated excess risks.

    S_t <- S_t + g_t^2, coordinate by coordinate;  E_t = sum_k g_tk^2 / sqrt(S_tk + epsilon), divided by its value at
    the task's first step;  w_t <- w_t exp(lr E_t), scaled back to sum 1 (mean) or T (sum);  d = sum_t w_t g_t.

    E_t falls as a task converges and stays where it does not, be it noise or neglect. The first step leaves the weights
    equal. An absent task keeps its weight. Keeps one copy of the shared parameters per task. Nothing to solve, so it
    cannot fail.

    Records `excess_risk`, the E_t by task.
    """

    needs = Needs.ROWS
    convention = "mean"
    paper = "He et al.: Robust Multi-Task Learning with Excess Risks (ICML 2024), algorithm 1"

    def __init__(
        self,
        *,
        lr: Positive = 0.01,
        epsilon: NonNegative = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the pace of the weights.

        Args:
            lr: step size of the weights, per excess risk relative to its first value (default 0.01).
            epsilon: added to S under the root, in squared gradients; the published code has 1e-7, which makes the
                weights depend on the scale of the losses (default 0).
            reduction: the weights sum to 1 (`mean`) or, as published, to T (`sum`), which multiplies the effective
                learning rate by the number of tasks (default mean).
            update_frequency: move the weights once in this many steps and reuse them in between, at the cost of a
                single backward (default 1, every step).
        """
        super().__init__(update_frequency=update_frequency)
        self.lr = lr
        self.epsilon = epsilon
        self.reduction = reduction
        self._squares: dict[str, dict[str, Tensor]] = {}
        self._first: dict[str, float] = {}
        self._logits: dict[str, float] = {}

    @property
    def promises(self) -> Promises:
        return Promises(scale="none" if self.epsilon else "common", simplex=self.reduction == "mean")

    def solve(self, observation: Observation) -> Decision:
        tasks = observation.tasks
        risks = self._relative(tasks, self._risks(observation))
        logits = np.array([self._logits.setdefault(task, 0.0) for task in tasks])
        moved = logits + self.lr * risks
        moved += _log_sum(logits) - _log_sum(moved)  # so that absent tasks keep their share
        self._logits |= dict(zip(tasks, moved.tolist(), strict=True))
        weights = softmax(moved)
        records = {"excess_risk": dict(zip(tasks, risks.tolist(), strict=True))}
        return Decision(weights * len(tasks) if self.reduction == "sum" else weights, records=records)

    def reset(self) -> None:
        super().reset()
        self._squares, self._first, self._logits = {}, {}, {}

    def state_dict(self) -> State:
        return super().state_dict() | {
            "squares": {task: dict(squares) for task, squares in self._squares.items()},
            "first": dict(self._first),
            "logits": dict(self._logits),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._squares = {task: dict(squares) for task, squares in state["squares"].items()}
        self._first = dict(state["first"])
        self._logits = dict(state["logits"])

    def _risks(self, observation: Observation) -> np.ndarray:
        """Add this step's squares to S and return the (T,) sums of g^2 / sqrt(S + epsilon)."""
        rows = observation.require_rows()
        risks = []
        for index, task in enumerate(observation.tasks):
            squares = self._squares.setdefault(task, {})
            parts = []
            for name, gradient in zip(rows.names, rows.gradients(index), strict=True):
                square = widened(gradient).square()
                before = squares.get(name)
                squares[name] = square if before is None else before.to(square) + square
                risk = square / (squares[name] + self.epsilon).sqrt()
                parts.append(risk.nan_to_num(nan=0.0).sum(dtype=torch.float64))
            risks.append(torch.stack([part.to(parts[0].device) for part in parts]).sum())
        return torch.stack(risks).cpu().numpy()

    def _relative(self, tasks: Sequence[str], risks: np.ndarray) -> np.ndarray:
        """Risks over their first values; 0 at a task's first step, which only measures that."""
        relative = np.zeros(len(tasks))
        for index, (task, risk) in enumerate(zip(tasks, risks.tolist(), strict=True)):
            first = self._first.get(task)
            if first is not None:
                relative[index] = risk / first
            elif risk > 0.0:
                self._first[task] = risk
        return relative


def _log_sum(logits: np.ndarray) -> float:
    """log sum exp, without overflow."""
    largest = float(logits.max())
    return largest + float(np.log(np.exp(logits - largest).sum()))
