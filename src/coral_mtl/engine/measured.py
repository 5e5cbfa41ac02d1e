"""What a step's rows amount to on the host: inner products, losses, and what is not finite, in one copy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from coral_mtl.engine.arriving import fetch
from coral_mtl.engine.gram import Block, assembled, gram_blocks, left_float32, wide_gram_matrix
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.rows import Row, all_finite
from coral_mtl.engine.setting import Setting


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of the tasks that have a row.

    observation: of all of them.
    losses: of all tasks that are present, constant ones included.
    refused: tasks whose loss, shared or own gradient is not finite, each with the reason.
    """

    observation: Observation
    losses: dict[str, float]
    refused: dict[str, str]

    @property
    def usable(self) -> np.ndarray:
        """The positions of the tasks that are not refused."""
        return np.array([i for i, task in enumerate(self.observation.tasks) if task not in self.refused], dtype=int)


def measured(
    setting: Setting,
    tasks: Sequence[str],
    rows: Sequence[Row],
    shared: Sequence[Tensor],
    losses: Mapping[str, Tensor],
    *,
    scale: float | Tensor,
    ghosts: Sequence[Block] = (),
) -> Measured:
    """Measure rows, and what was measured of rows that were never formed.

    Args:
        setting: the step's.
        tasks: their names.
        rows: one for each.
        shared: what the inner products are over.
        losses: of all tasks that are present.
        scale: the factor that is still on the rows.
        ghosts: further blocks of the Gram matrix.
    """
    blocks, precision = gram_blocks(rows, shared)
    own = _own_are_finite(rows, set(shared))
    scales = [scale] if isinstance(scale, Tensor) else []
    sent = [*losses.values(), *own.values(), *scales, *(products for _, products in (*blocks, *ghosts))]
    came = fetch(sent)
    host_losses = {task: float(came.pop(0)) for task in losses}
    finite = {position: bool(came.pop(0)) for position in own}
    factor = float(came.pop(0)) if scales else scale
    gram = assembled(blocks, came[: len(blocks)], len(rows))
    if left_float32(gram, precision):
        gram = wide_gram_matrix(rows, shared)
    gram += assembled(ghosts, came[len(blocks) :], len(rows))
    gram /= factor**2
    refused = setting.refused_at_predictions()
    for position, task in enumerate(tasks):
        if not np.isfinite(host_losses[task]):
            refused[task] = "non-finite loss"
        elif not (np.isfinite(gram[position, position]) and finite.get(position, True)):
            refused[task] = "non-finite gradient"
    observation = Observation(
        tasks=tuple(tasks),
        losses=np.array([host_losses[task] for task in tasks]),
        gram=gram,
        precision=precision,
        step=setting.step,
        prediction_norms=setting.prediction_norms(tasks),
    )
    return Measured(observation, host_losses, refused)


def _own_are_finite(rows: Sequence[Row], shared: set[Tensor]) -> dict[int, Tensor]:
    """Whether the gradients of a task's own parameters are finite, by the position of each task that has some."""
    own = {i: [gradient for leaf, gradient in row.items() if leaf not in shared] for i, row in enumerate(rows)}
    return {position: all_finite(gradients) for position, gradients in own.items() if gradients}
