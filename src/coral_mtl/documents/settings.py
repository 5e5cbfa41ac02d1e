"""The settings of a YAML text by dotted key, and what two texts do not have in common."""

from collections.abc import Iterator
from typing import Any

from coral_mtl.documents.problems import Place
from coral_mtl.documents.yaml_1_2 import parse

ABSENT = "none"
_WORDS = {None: "null", True: "true", False: "false"}


def flat_settings(text: str, source: str) -> dict[str, str]:
    """Return all values of a YAML text as text, by dotted key; positions in lists of mappings count from 0.

    Raises:
        ConfigErrors: it is not YAML; `source` says where it is from.
    """
    root, _ = parse(text, lambda line, column: Place(0, line, column, source))
    return dict(_flat(root.plain()))


def changes(old: str, new: str, source: str) -> dict[str, tuple[str, str]]:
    """Return what is not the same in two YAML texts, as (old, new) by dotted key."""
    before, after = flat_settings(old, source), flat_settings(new, source)
    pairs = {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in {**before, **after}}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def told(changed: dict[str, tuple[str, str]]) -> str:
    """Return changes in words: `trainer.epochs was 3 and is 4`."""
    return ", ".join(f"{key} was {old} and is {new}" for key, (old, new) in changed.items())


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for position, item in enumerate(value):
            yield from _flat(item, f"{key}.{position}")
    else:
        yield key, _WORDS[value] if value is None or isinstance(value, bool) else str(value)
