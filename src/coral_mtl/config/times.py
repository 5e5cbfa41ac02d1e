"""Schedules and stages against the length of the run, as far as that is known before the data are read."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from coral_mtl.config.blocks import Choice
from coral_mtl.config.draft import Draft
from coral_mtl.documents.problems import KeyPath
from coral_mtl.errors import CoralError
from coral_mtl.schedules import Horizon, bounded_curve, stage_begins

SCHEDULE: KeyPath = ("optimizer", "schedule")
STAGES: KeyPath = ("trainer", "stages")
TERM_WEIGHTS: KeyPath = ("loss", "term_weights")
REGULARISERS: KeyPath = ("regularisers",)
EPOCHS: KeyPath = ("trainer", "epochs")
STEPS_OF_AN_EPOCH = (1, 1_000_000)
"""Numbers between which the steps of an epoch surely lie."""

Fit = Callable[[Horizon], object]
"""Raises CoralError where something does not fit a run."""


def check_times(draft: Draft, optimizer: Choice | None, strategies: Mapping[KeyPath, Any]) -> None:
    """Report schedules and stages that fit no run of so many epochs, however many steps an epoch has.

    optimizer: the chosen optimiser, where the choice is legal. strategies: those that could be built, by their paths.
    """
    if optimizer is not None and draft.value(SCHEDULE) is not None and optimizer.cls.has_own_schedule:
        message = f"{optimizer.name} has a schedule of its own"
        draft.report(SCHEDULE, message, "leave it out, or take an optimizer.type without one, such as AdamW")
    if not draft.sure(EPOCHS):
        return
    for path, fit in _fits(draft, strategies):
        if draft.sure(path):
            _check(draft, path, fit)


def _fits(draft: Draft, strategies: Mapping[KeyPath, Any]) -> Iterator[tuple[KeyPath, Fit]]:
    written: dict[KeyPath, Any] = {SCHEDULE: draft.value(SCHEDULE)}
    written |= {(*TERM_WEIGHTS, name): weight for name, weight in draft.mapping(TERM_WEIGHTS).items()}
    for name in draft.mapping(REGULARISERS):
        path = (*REGULARISERS, name, "schedule")
        written[path] = draft.find(path)
    for path, schedule in written.items():
        if schedule is not None and draft.sure(path):
            yield path, partial(bounded_curve, "this schedule", schedule)
    if draft.sure(STAGES) and draft.find(STAGES):
        yield STAGES, partial(stage_begins, [stage["begin"] for stage in draft.find(STAGES)])
    for path, strategy in strategies.items():
        yield (*path, "params"), strategy.begin


def _check(draft: Draft, path: KeyPath, fit: Fit) -> None:
    problems = []
    for steps_per_epoch in STEPS_OF_AN_EPOCH:
        try:
            fit(Horizon(draft.value(EPOCHS) * steps_per_epoch, steps_per_epoch))
        except CoralError as error:
            problems.append(error)
    if len(problems) == len(STEPS_OF_AN_EPOCH):
        message, _, advice = str(problems[0]).partition("\n")
        draft.report(path, f"{message} (counted with one step to an epoch)", advice)
