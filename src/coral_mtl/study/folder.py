"""The folders of comparisons and studies: made only once everything in them is known to be possible."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coral_mtl.atomic import atomic_writing, refused_places
from coral_mtl.config import Config, dump_config, load_config
from coral_mtl.errors import ConfigError

CONFIG = "config.yaml"


def check_changes(config: Config, wanted: Iterable[Sequence[str]]) -> None:
    """Check what a configuration becomes under each of the wanted lists of overrides.

    Raises:
        ConfigError: of the first that is no legal configuration, with all its problems.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG
        path.write_text(dump_config(config), encoding="utf-8")
        for overrides in wanted:
            load_config(path, overrides)


def check_variants(config: Config) -> None:
    """Check the variants of the section `compare`, where there is one.

    Raises:
        ConfigError: of the first that is no legal configuration, with all its problems.
    """
    if config.compare is not None:
        single = config.model_copy(update={"compare": None})
        check_changes(single, (overrides_of(settings) for settings in config.compare.variants.values()))


def overrides_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return values by dotted key as overrides."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())


def make_folder(folder: Path, config: Config) -> None:
    """Make a folder that holds a configuration.

    Raises:
        ConfigError: there are files in it already, or it cannot be written.
    """
    with refused_places(folder, "choose another folder with --output"):
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: this folder is not empty\n    choose another one with --output")
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_writing(folder / CONFIG) as file:
            file.write(dump_config(config).encode())


def holds(folder: Path, config: Config) -> bool:
    """Whether the configuration in the folder is this one."""
    return (folder / CONFIG).read_text(encoding="utf-8") == dump_config(config)
