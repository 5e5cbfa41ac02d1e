"""What a task is: the kind of its target and the size of its prediction."""

from dataclasses import dataclass
from typing import Literal, get_args

from coral_mtl.errors import DataError

TaskKind = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a data set.

    kind: `classification`, with integer targets of shape (N, ...) and logits of shape (N, size, ...); or `regression`,
        with real targets and predictions of shape (N, size, ...).
    size: number of classes (2 or more), or dimension of the target (1 or more).
    ignore_index: class index of elements without a label, which no loss and no metric counts (default -100).

    Raises DataError where kind or size is none of these.
    """

    kind: TaskKind
    size: int
    ignore_index: int = -100

    def __post_init__(self) -> None:
        if self.kind not in get_args(TaskKind):
            raise DataError(f"a task is of kind {' or '.join(get_args(TaskKind))}, not {self.kind!r}")
        smallest = 2 if self.kind == "classification" else 1
        if self.size < smallest:
            raise DataError(f"a {self.kind} task has size {smallest} or more, not {self.size}")
