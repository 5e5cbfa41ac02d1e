"""What a task is: the kind of its target, the size of its prediction, and the names and groups of its classes."""

from dataclasses import dataclass
from typing import Literal, get_args

from coral_mtl.errors import DataError

TaskKind = Literal["classification", "regression", "segmentation", "polygon", "judgement"]

SMALLEST_SIZE: dict[TaskKind, int] = {
    "classification": 2,
    "regression": 1,
    "segmentation": 2,
    "polygon": 3,
    "judgement": 2,
}
WITHOUT_CLASSES: tuple[TaskKind, ...] = ("regression", "polygon", "judgement")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a data set.

    kind: `classification`, with integer targets of shape (N, ...) and logits of shape (N, size, ...); `segmentation`,
        with a class index for every pixel, (N, H, W), and logits (N, size, H, W); `regression`, with real targets and
        predictions of shape (N, size, ...); `polygon`, with vertices (N, size, 2), predicted ones and true ones;
        or `judgement`, which of two images is more like a third, with the share (N,) of the judges who chose the second
        one, and predictions (N, 3): the distances of both from the third, and the logit of choosing the second.
    size: number of classes (2 or more), dimension of the target (1 or more), number of vertices (3 or more), or of the
        images that are judged (2).
    ignore_index: class index of elements without a label, which no loss and no metric counts (default -100).
    labels: names of the classes in the order of their indices, or empty where they have none (default).
    groups: group of each class, from 0 to len(group_labels) - 1, or empty where the classes have no groups (default).
        The probability of a group is the sum of those of its classes.
    group_labels: names of the groups (default: empty).
    class_of_id: for a task that was split off a label image, the class of each of the image's ids from 0, with
        `ignore_index` for ids without a label (default: empty). It tells which classes of two tasks go together.

    Raises DataError where these do not fit together.
    """

    kind: TaskKind
    size: int
    ignore_index: int = -100
    labels: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    group_labels: tuple[str, ...] = ()
    class_of_id: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        kinds = get_args(TaskKind)
        if self.kind not in kinds:
            raise DataError(f"a task is of kind {', '.join(kinds[:-1])} or {kinds[-1]}, not {self.kind!r}")
        smallest = SMALLEST_SIZE[self.kind]
        if self.size < smallest:
            raise DataError(f"a {self.kind} task has size {smallest} or more, not {self.size}")
        if self.kind in WITHOUT_CLASSES and (self.labels or self.groups):
            raise DataError(f"a {self.kind} task has no classes: leave out labels and groups")
        for name, each in (("labels", self.labels), ("groups", self.groups)):
            if each and len(each) != self.size:
                raise DataError(f"a task of {self.size} classes has as many {name}, not {len(each)}")
        if set(self.groups) != set(range(len(self.group_labels))):
            raise DataError(
                f"the classes' groups {sorted(set(self.groups))} are not those of {len(self.group_labels)} group_labels"
                "\n    number the groups from 0, each with one class or more"
            )
        if not set(self.class_of_id) <= {*range(self.size), self.ignore_index}:
            raise DataError(f"class_of_id holds classes from 0 to {self.size - 1} and {self.ignore_index} alone")
