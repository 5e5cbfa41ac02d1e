"""The settings of runs as they stand in their config.yaml, and what sets one method apart from another."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from coral_mtl.documents.settings import ABSENT, flat_settings

Settings = Mapping[str, str]
"""Values as text by dotted key."""

SELECTION = "trainer.model_selection_metric"

_INCIDENTAL = (
    "name",
    "seed",
    "loss.weighting_strategy.params.seed",
    "loss.weighting_strategy.over.params.seed",
    "trainer.output_dir",
    "trainer.device",
    "trainer.checkpoint_every",
    "trainer.val_frequency",
    SELECTION,
    "trainer.metric_mode",
    "data.num_workers",
)
_INCIDENTAL_SECTIONS = ("diagnostics.", "trackers.", "study.")


def read_settings(config: Path) -> dict[str, str]:
    """Return all settings of a config.yaml.

    Raises:
        ConfigErrors: it is not YAML.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    return flat_settings(config.read_text(encoding="utf-8"), str(config))


def deciding(settings: Settings) -> dict[str, str]:
    """Return the settings without those that leave the last validation alone, or that runs of one method differ in."""
    return {
        key: value
        for key, value in settings.items()
        if key not in _INCIDENTAL and not key.startswith(_INCIDENTAL_SECTIONS)
    }


def differing(several: Sequence[Settings]) -> list[str]:
    """Return the keys that are not the same in all, or not there in some."""
    keys = dict.fromkeys(key for settings in several for key in settings)
    return [key for key in keys if len({settings.get(key) for settings in several}) > 1]


def label(strategy: str, own: Settings, twins: Sequence[Settings]) -> str:
    """Return the strategy's name, with what sets it apart from others of that name: `NashMTL(update_frequency=10)`.

    Args:
        strategy: the name.
        own: its deciding settings.
        twins: those of all methods of that name, its own among them.
    """
    apart = [f"{key.rpartition('.')[2]}={own.get(key, ABSENT)}" for key in differing(twins)]
    return f"{strategy}({', '.join(apart)})" if apart else strategy
