"""Preferences: how important each task is, by name, for the methods that define it."""

from collections.abc import Mapping, Sequence

import numpy as np

from coral_mtl.engine.loss_weighting.checks import require_known_tasks


def preference_shares(strategy: str, preference: Mapping[str, float] | None, tasks: Sequence[str]) -> np.ndarray:
    """Return the (T,) preferences of `tasks`, scaled to sum 1; equal shares without a preference.

    Raises:
        StrategyError: a task is not named, told in the name of `strategy`.
    """
    if preference is None:
        return np.full(len(tasks), 1.0 / len(tasks))
    require_known_tasks(f"{strategy}: preference", preference, tasks)
    values = np.array([preference[task] for task in tasks], dtype=np.float64)
    values /= values.max()
    return values / values.sum()
