"""The classes that a segmentation is judged by: a task's own, or the groups of them."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from coral_mtl.data.tasks import TaskSpec

GROUPED = "grouped"
UNGROUPED = "ungrouped"
UNLABELED = "unlabeled"


@dataclass(frozen=True, slots=True)
class Level:
    """One set of classes of a task.

    name: `grouped` or `ungrouped`.
    labels: names of the classes, their indices as text where they have none.
    counted: whether each class takes part in means; one that is made of the task's ignored class alone does not.
    named: whether each class counts and is more than a remainder, see `remainders`.
    ignore_index: class of the task whose elements have no label.
    groups: class of this level for each class of the task; empty where they are the same.
    """

    name: str
    labels: tuple[str, ...]
    counted: tuple[bool, ...]
    named: tuple[bool, ...]
    ignore_index: int
    groups: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.labels)

    def true_classes(self, target: Tensor) -> Tensor:
        """Return the classes of this level for a task's targets, -1 where there is no label."""
        target = target.long()
        unlabelled = target == self.ignore_index
        if not self.groups:
            return target.masked_fill(unlabelled, -1)
        table = torch.tensor(self.groups, device=target.device)
        return table[target.masked_fill(unlabelled, 0)].masked_fill(unlabelled, -1)

    def classify(self, logits: Tensor) -> Tensor:
        """Return (N, ...) the most probable class of this level for logits (N, C, ...) of the task's classes."""
        scores = self.log_probabilities(log_softmax(logits)) if self.groups else logits
        return most_probable(scores)

    def log_probabilities(self, log_p: Tensor) -> Tensor:
        """Return (N, size, ...) from those of the task's classes: a group's probability is the sum of its classes'."""
        if not self.groups:
            return log_p
        members = torch.tensor(self.groups, device=log_p.device)
        return torch.stack([log_p[:, members == group].logsumexp(dim=1) for group in range(self.size)], dim=1)


def log_softmax(logits: Tensor) -> Tensor:
    """Return the log-probabilities of the classes, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)


def most_probable(scores: Tensor) -> Tensor:
    """Return (N, ...) the index of the largest of (N, C, ...) scores."""
    return scores.max(dim=1).indices  # on processors three times as fast as argmax


def levels_of(task: TaskSpec) -> tuple[Level, ...]:
    """Return `grouped`, which every task has, and `ungrouped` where the task has groups.

    Without groups, `grouped` is made of the task's own classes.
    """
    labels = task.labels or tuple(map(str, range(task.size)))
    counted = tuple(index != task.ignore_index for index in range(task.size))
    named = tuple(own and not rest for own, rest in zip(counted, remainders(task), strict=True))
    if not task.groups:
        return (Level(GROUPED, labels, counted, named, task.ignore_index),)
    members = [
        [index for index in range(task.size) if task.groups[index] == group] for group in range(len(task.group_labels))
    ]
    grouped = Level(
        GROUPED,
        task.group_labels,
        tuple(any(counted[index] for index in group) for group in members),
        tuple(all(named[index] for index in group) for group in members),
        task.ignore_index,
        task.groups,
    )
    return grouped, Level(UNGROUPED, labels, counted, named, task.ignore_index)


def remainders(task: TaskSpec) -> tuple[bool, ...]:
    """Return whether each class of a task is what its other classes leave over, and no thing of its own.

    That is a class which several ids of a label image share, since every other class is one id; and one that is called
    `unlabeled`.
    """
    ids = Counter(task.class_of_id)
    return tuple(ids[index] > 1 or task.labels[index : index + 1] == (UNLABELED,) for index in range(task.size))
