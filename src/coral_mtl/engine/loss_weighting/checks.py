"""Mistakes that several loss weightings can be fed, told in the same words."""

from collections.abc import Collection

import numpy as np

from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError


def require_same_tasks(what: str, given: Collection[str], tasks: Collection[str]) -> None:
    """Raise StrategyError, with both sides, unless `given` names exactly the run's `tasks`."""
    unknown, missing = set(given) - set(tasks), set(tasks) - set(given)
    if unknown or missing:
        complaints = [f"missing: {_listed(missing)}"] if missing else []
        complaints += [f"unknown: {_listed(unknown)}"] if unknown else []
        raise StrategyError(
            f"{what} must name exactly the tasks of this run ({'; '.join(complaints)})\n"
            f"    named: {_listed(given)}\n    tasks of this run: {_listed(tasks)}"
        )


def require_known_tasks(what: str, given: Collection[str], tasks: Collection[str]) -> None:
    """Raise StrategyError, with both sides, if one of the step's `tasks` is not in `given`; others may be absent."""
    missing = set(tasks) - set(given)
    if missing:
        raise StrategyError(
            f"{what}: nothing is known about {_listed(missing)}\n"
            f"    known: {_listed(given)}\n    tasks of this step: {_listed(tasks)}"
        )


def require_nonnegative(what: str, observation: Observation) -> np.ndarray:
    """Return the (T,) losses; raise StrategyError, naming tasks and values, if one is negative."""
    negative = [f"{t} = {loss:g}" for t, loss in zip(observation.tasks, observation.losses, strict=True) if loss < 0]
    if negative:
        raise StrategyError(
            f"{what} compares losses by their ratios, so none may be negative: {', '.join(negative)}\n"
            "    add a constant to that loss, or take a weighting that does not look at loss values, such as Equal"
        )
    return observation.losses


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
