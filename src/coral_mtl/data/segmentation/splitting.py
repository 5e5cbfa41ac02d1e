"""One mask of original ids to one mask for every task."""

from collections.abc import Mapping

import torch
from torch import Tensor

from coral_mtl.data.tasks import TaskSpec


class TaskSplitter:
    """Looks the ids of a mask up in the tasks' tables.

    Bytes in, bytes out: a frame of two million pixels has no better use for the memory of seven masks of int64.

    tables: by task, (256,) uint8 class index of every value that a mask of bytes can hold; `ignore_index` for those
        that are no id.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        """Take the tables of tasks that have a `class_of_id`."""
        self.tables = {name: _table(task) for name, task in tasks.items()}

    def __call__(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the class indices (H, W) uint8 of each task at the ids (H, W) uint8."""
        flat = ids.flatten().int()
        return {name: table.index_select(0, flat).view(ids.shape) for name, table in self.tables.items()}


def _table(task: TaskSpec) -> Tensor:
    table = torch.full((256,), task.ignore_index, dtype=torch.uint8)
    table[: len(task.class_of_id)] = torch.tensor(task.class_of_id, dtype=torch.uint8)
    return table
