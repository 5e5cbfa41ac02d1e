"""The settings that a study searches through."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from coral_mtl.config.study import Choices, FloatRange, Range

Settings = dict[str, Any]
"""Values by dotted key."""


def suggested(trial: Any, space: Mapping[str, Range]) -> Settings:
    """Return the settings that an Optuna trial suggests."""
    return {key: _suggested(trial, key, each) for key, each in space.items()}


def _suggested(trial: Any, key: str, each: Range) -> Any:
    if isinstance(each, Choices):
        return trial.suggest_categorical(key, each.choices)
    suggest = trial.suggest_float if isinstance(each, FloatRange) else trial.suggest_int
    return suggest(key, each.low, each.high, step=each.step, log=each.log)


def overrides(settings: Settings) -> list[str]:
    """Return the settings as overrides of the study's configuration, for a run that knows nothing of the study."""
    return ["study=null", *(f"{key}={json.dumps(value)}" for key, value in settings.items())]


def extremes(space: Mapping[str, Range]) -> Iterator[Settings]:
    """Yield all lowest values together, all highest ones, and each choice with the lowest values of the others."""
    ends = {
        key: (e.choices[0], e.choices[-1]) if isinstance(e, Choices) else (e.low, e.high) for key, e in space.items()
    }
    lowest = {key: low for key, (low, _) in ends.items()}
    yield lowest
    yield {key: high for key, (_, high) in ends.items()}
    for key, each in space.items():
        if isinstance(each, Choices):
            yield from (lowest | {key: choice} for choice in each.choices[1:])
