"""A resolved configuration, written as YAML that trains again as it is."""

from typing import Any

from coral_mtl.config.effects import OVER, OVER_TIMES, STRATEGY, TIMES, Layers, idle_keys
from coral_mtl.config.sections import Config
from coral_mtl.documents.problems import KeyPath
from coral_mtl.documents.yaml_1_2 import write


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, defaults included; `load_config` reads it back equal.

    Keys that have no effect in this run are left out, since giving one is an error.
    """
    plain = config.model_dump(mode="json")
    for path in idle_keys(lambda path: _value(config, path), _layers(config)):
        section = plain
        for key in path[:-1]:
            section = section[str(key)]
        del section[str(path[-1])]
    for command in ("study", "compare"):
        if plain[command] is None:
            del plain[command]
    return write(plain)


def _layers(config: Config) -> Layers:
    block = config.loss.weighting_strategy
    over_times = None if block.over is None else block.over.times
    blocks = {STRATEGY: block, OVER: block.over, TIMES: block.times, OVER_TIMES: over_times}
    return {path: own.build() for path, own in blocks.items() if own is not None}


def _value(config: Config, path: KeyPath) -> Any:
    value: Any = config
    for key in path:
        value = getattr(value, str(key))
    return value
