"""From a loss's terms to what is balanced: the terms themselves, or the tasks that they belong to."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Curve, Horizon, Written, bounded_curve


class Objective:
    """A loss, as the engine sees it: named scalars, one for each task or one for each term.

    A loss with several terms for a task says so with `terms_by_task: {task: terms}`; one that can leave out terms takes
    their names as `only=`; one for which some classes are no labels says so with `ignored_by_task: {task: classes}`.
    With `balance="tasks"`, L_task = sum_k w_k(step) L_k over its terms. A term whose weight is exactly 0, or that
    nobody wants, is not evaluated.
    """

    def __init__(
        self,
        loss: Any,
        *,
        balance: Literal["tasks", "terms"] = "tasks",
        weights: Mapping[str, Written] | None = None,
        run: Horizon | None = None,
    ) -> None:
        """Wrap a loss.

        Args:
            loss: predictions and targets to terms, see `registry.losses`.
            balance: what the engine balances (default tasks).
            weights: weight of a term within its task, a number or a schedule; 1 for those not named (default: none).
            run: how long the run is; needed with weights.

        Raises:
            ConfigError: a weight of a term that the loss does not have, or that is negative at some time.
        """
        self.loss = loss
        by_task: Mapping[str, Collection[str]] = getattr(loss, "terms_by_task", {})
        self._groups = by_task if balance == "tasks" and by_task else {term: (term,) for term in loss.terms}
        self._weights = self._curves(weights or {}, run)
        self.ignored_by_task: Mapping[str, Collection[int]] = getattr(loss, "ignored_by_task", {})
        """Classes whose elements this loss leaves out: a batch with no other label of the task is without the task."""
        self._can_leave_out = "only" in inspect.signature(loss).parameters

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of what is balanced."""
        return tuple(self._groups)

    def __call__(
        self, predictions: Any, targets: Any, step: int = 0, without: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Return the scalars to balance at an optimiser step, without those of weight 0 or named in `without`."""
        weights = {term: curve(step) for term, curve in self._weights.items()}
        groups = {
            name: [term for term in terms if weights.get(term, 1.0) != 0.0]
            for name, terms in self._groups.items()
            if name not in without
        }
        found = self._evaluated(predictions, targets, {term for terms in groups.values() for term in terms})
        return {
            name: _total([weights.get(term, 1.0) * found[term] for term in present])
            for name, terms in groups.items()
            if (present := [term for term in terms if term in found])
        }

    def _evaluated(self, predictions: Any, targets: Any, wanted: Collection[str]) -> dict[str, Tensor]:
        if self._can_leave_out and len(wanted) < sum(map(len, self._groups.values())):
            return self.loss(predictions, targets, only=wanted)
        return self.loss(predictions, targets)

    def _curves(self, weights: Mapping[str, Written], run: Horizon | None) -> dict[str, Curve]:
        unknown = sorted(set(weights) - set(self.loss.terms))
        if unknown:
            raise ConfigError(f"no term is called {unknown[0]!r}; there are {', '.join(self.loss.terms)}")
        if weights and run is None:
            raise ConfigError("weights of terms may follow a schedule: say how long the run is, with run=")
        return {
            term: bounded_curve(f"loss.term_weights.{term}", weight, run) for term, weight in weights.items() if run
        }


def _total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()
