"""Schedules of learning rates by the situation they are meant for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coral_mtl.registry import UnknownNameError


@dataclass(frozen=True, slots=True)
class Preset:
    """A schedule of learning rates as written, and the base learning rate that it is meant for."""

    schedule: Mapping[str, Mapping[str, Any]]
    learning_rate: float


PRESETS = {
    "standard": Preset({"warmup_cosine": {"warmup": "10 epochs"}}, 1e-4),
    "warm_restarts": Preset({"restarts": {"period": "20 epochs"}}, 1e-4),
    "frequent_restarts": Preset({"restarts": {"period": "10 epochs"}}, 1e-4),
    "progressive_restarts": Preset({"restarts": {"period": "10 epochs", "multiplier": 2.0}}, 1e-4),
    "conservative_restarts": Preset({"restarts": {"period": "30 epochs", "multiplier": 1.5}}, 1e-4),
    "fresh_training": Preset({"aggressive_restart": {"escape_lr_multiplier": 2.5}}, 1e-4),
    "checkpoint_resume": Preset({"aggressive_restart": {"escape_lr_multiplier": 3.5}}, 5e-5),
    "desperate_escape": Preset({"aggressive_restart": {"escape_lr_multiplier": 5.0}}, 3e-5),
    "fine_tuning": Preset({"aggressive_restart": {"escape_lr_multiplier": 1.75}}, 1e-5),
}
"""Starting points by the situation they are meant for; multipliers are the middle of the range usually given."""


def preset(name: str) -> Preset:
    """Return a preset by name; raise UnknownNameError, a ConfigError, with the nearest name if there is none."""
    if name not in PRESETS:
        raise UnknownNameError("preset of schedules", name, list(PRESETS))
    return PRESETS[name]
