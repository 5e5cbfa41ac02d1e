"""Batches of a data set, on the device, in a sampler's order."""

import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from coral_mtl.data.sampler import ResumableSampler
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.elements import labelled
from coral_mtl.schedules import Horizon

Batch = tuple[Tensor, dict[str, Tensor]]


class Splits(Protocol):
    """What `registry.data` builds: map-style data sets of (inputs, {task: target}), for training and validation."""

    train: Dataset[Any]
    validation: Dataset[Any]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A part of one optimiser step's samples, its share of them, and whether it is the last part."""

    inputs: Tensor
    targets: dict[str, Tensor]
    share: float
    last: bool


class Batches:
    """Iterates over (inputs, {task: target}) from where the sampler stands; the last batch of an epoch may be short.

    Items are functions of their index alone, or, of a data set with `set_epoch(epoch, *, seed)`, of the sampler's seed
    and epoch too, so what comes after `sampler.skip(k * batch_size)` is what an epoch without interruption has after k
    batches, whatever the workers had loaded ahead.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: ResumableSampler,
        *,
        batch_size: int,
        num_workers: int,
        device: torch.device,
        tasks: Mapping[str, TaskSpec] | None = None,
        ignored: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        """Prepare to load; with `tasks`, batches are without the targets of tasks that have no label in them.

        Classes that are `ignored` are no labels of their task.
        """
        self._tasks = tasks or {}
        self._ignored = ignored or {}
        self._dataset = dataset
        self._sampler = sampler
        self._device = device
        self._loader = DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            worker_init_fn=_leave_stops_to_parent,
            generator=torch.Generator(),  # or each epoch would draw from the global one, on which dropout depends
            pin_memory=device.type == "cuda",
            persistent_workers=num_workers > 0,
        )

    def __iter__(self) -> Iterator[Batch]:
        if hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(self._sampler.epoch, seed=self._sampler.seed)
        for inputs, found in self._loader:
            targets = with_labels(found, self._tasks, self._ignored)
            yield (
                inputs.to(self._device, non_blocking=True),
                {task: target.to(self._device, non_blocking=True) for task, target in targets.items()},
            )


def with_labels(
    targets: Mapping[str, Tensor], tasks: Mapping[str, TaskSpec], ignored: Mapping[str, Collection[int]]
) -> Mapping[str, Tensor]:
    """Return the targets without those of `tasks` that have no label in this batch; all where no task has one.

    Such a task is absent. Its loss would be 0, which a weighting by losses would take for a task that is solved.
    Classes of a task that are `ignored` are no labels: its loss leaves their elements out.
    """
    unlabelled = {
        task
        for task, spec in tasks.items()
        if task in targets and not labelled(spec, targets[task], ignored.get(task, ())).any()
    }
    return {task: target for task, target in targets.items() if task not in unlabelled} or targets


def run_length(samples: int, window: int, epochs: int) -> Horizon:
    """Return how many optimiser steps of `window` samples, the last of an epoch maybe of fewer, a run has."""
    steps_per_epoch = -(-samples // window)
    return Horizon(epochs * steps_per_epoch, steps_per_epoch)


def window(batches: Iterator[Batch], *, samples: int, batch_size: int, at_least: int = 1) -> Iterator[MicroBatch]:
    """Take the batches of one optimiser step, which is made of `samples` samples.

    Shares are by number of samples, so that micro-batches' mean losses times their shares add up to the mean over all.
    Where the step has fewer batches than `at_least`, each of them is cut into that many.
    """
    count = -(-samples // batch_size)
    parts = at_least if count < at_least else 1
    for number in range(1, count + 1):
        batch = next(batches)
        cut = _cut(batch, parts)
        size = len(batch[0]) / sum(len(inputs) for inputs, _ in cut)
        for part, (inputs, targets) in enumerate(cut, 1):
            last = number == count and part == parts
            yield MicroBatch(inputs, targets, len(inputs) * size / samples, last)


def _cut(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into parts of about equal size; one with fewer samples than that stands for every part."""
    inputs, targets = batch
    if len(inputs) < parts:
        return [batch] * parts
    cut_targets = {task: target.tensor_split(parts) for task, target in targets.items()}
    return [
        (piece, {task: pieces[part] for task, pieces in cut_targets.items()})
        for part, piece in enumerate(inputs.tensor_split(parts))
    ]


def _leave_stops_to_parent(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker: they may go to all processes, and training finishes its step first."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
