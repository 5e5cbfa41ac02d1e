"""GradDrop: each coordinate of the update keeps the gradients of one sign only."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coral_mtl import registry
from coral_mtl.engine.generator import SeededGenerator
from coral_mtl.engine.gradient_strategies.coordinates import widened
from coral_mtl.engine.observation import Decision, Needs, Observation, Promises
from coral_mtl.engine.strategy import GradientStrategy, Memory
from coral_mtl.errors import StrategyError
from coral_mtl.options import Fraction, NonNegativeInt


def drop_signs(gradients: Sequence[Tensor], uniforms: Tensor, leaks: Sequence[float]) -> Tensor:
    """Return sum_t (leak_t + (1 - leak_t) kept_t) g_t, coordinate by coordinate.

    With P = 1/2 (1 + sum_t g_t / sum_t |g_t|), the positive entries are kept where P > U, the negative ones elsewhere.

    Args:
        gradients: one tensor per task, all of one shape.
        uniforms: U, of that shape, uniform on [0, 1).
        leaks: share of each task that passes in any case.
    """
    wide = [widened(gradient) for gradient in gradients]
    total, absolute = torch.zeros_like(wide[0]), torch.zeros_like(wide[0])
    for gradient in wide:
        total += gradient
        absolute += gradient.abs()
    positive = 0.5 * (absolute + total) > uniforms * absolute
    direction = torch.zeros_like(total)
    for gradient, leak in zip(wide, leaks, strict=True):
        direction += torch.where((gradient > 0) == positive, gradient, leak * gradient)
    return direction.to(gradients[0].dtype)


@registry.strategies.register
class GradDrop(GradientStrategy):
    """The mean (or sum) of the gradients after one sign has been drawn for each coordinate and the other dropped.

    P_k = 1/2 (1 + sum_t g_tk / sum_t |g_tk|); with probability P_k coordinate k keeps its positive entries, else its
    negative ones. Of each dropped entry the share leak_t stays.

    This is the common form on the gradients of parameters; the paper's own acts on those of activations. d is no
    combination of the gradients: the weights reported are those of the nearest one. Tasks may be hurt. Nothing to
    solve, so it cannot fail.
    """

    needs = Needs.ROWS
    convention = "mean"
    paper = "Chen et al.: Just Pick a Sign (NeurIPS 2020), algorithm 1"

    def __init__(
        self,
        *,
        leak: dict[str, Fraction] | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        seed: NonNegativeInt | None = None,
    ) -> None:
        """Set what passes in any case, and the randomness.

        Args:
            leak: share of a task's gradient that is never dropped, by task name; 0 for tasks not named (default: none).
            reduction: d is the `mean` or the `sum` of what is kept; the sum, the paper's, multiplies the effective
                learning rate by the number of tasks (default mean).
            seed: seed of the strategy's own generator (default: the seed of the run, and 0 without one).
        """
        super().__init__()
        self.leak = leak or {}
        self.reduction = reduction
        self.seed = seed
        self._generator = SeededGenerator(seed)

    @property
    def promises(self) -> Promises:
        return Promises(nonnegative=False, combination=False)

    def bind(self, tasks: Sequence[str]) -> None:
        unknown = sorted(set(self.leak) - set(tasks))
        if unknown:
            raise StrategyError(
                f"GradDrop: leak names {', '.join(unknown)}, which this run does not have\n"
                f"    tasks of this run: {', '.join(tasks)}",
                option="leak",
            )

    def solve(self, observation: Observation) -> Decision:
        rows = observation.require_rows()
        count = len(observation.tasks)
        share = 1.0 / count if self.reduction == "mean" else 1.0
        leaks = [self.leak.get(task, 0.0) for task in observation.tasks]
        gradients = [rows.gradients(task) for task in range(count)]
        columns = list(zip(*gradients, strict=True))
        uniforms = self._uniforms([column[0] for column in columns])
        direction = [drop_signs(column, u, leaks) * share for column, u in zip(columns, uniforms, strict=True)]
        return Decision(np.full(count, share), direction=direction)

    def _uniforms(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One uniform number per coordinate, drawn where the gradients are from a seed of this strategy's own."""
        seed = int(self._generator.uniform(1)[0] * 2**53)
        generators = {tensor.device: torch.Generator(tensor.device).manual_seed(seed) for tensor in tensors}
        return [
            torch.rand(tensor.shape, generator=generators[tensor.device], device=tensor.device) for tensor in tensors
        ]

    def memories(self) -> dict[str, Memory]:
        return {"generator": self._generator}
