"""All keys that a configuration may have, and where a key that stands in the wrong place belongs."""

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from coral_mtl.config.sections import Block, Config, Section
from coral_mtl.documents.problems import KeyPath, dotted
from coral_mtl.options import options_of
from coral_mtl.registry import canonical_key, constraint_modes, constraint_sets, regularisers, schedules

ANY = "*"
"""Stands in a path for a name that the user chose, or for a position in a list."""


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field of type `annotation` holds, also where it may be null instead."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, Section)), None)


def sections(section: type[Section] = Config, path: KeyPath = ()) -> Iterator[tuple[KeyPath, type[Section]]]:
    """All sections with their paths, outermost first."""
    yield path, section
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            several = get_origin(field.annotation) in (list, dict)
            yield from sections(inner, (*path, name, ANY) if several else (*path, name))


SECTIONS: dict[KeyPath, type[Section]] = dict(sections())
"""The sections of a configuration by their paths."""

BLOCKS: dict[KeyPath, type[Block]] = {path: section for path, section in SECTIONS.items() if issubclass(section, Block)}
"""The blocks among them."""

KINDS = (schedules, regularisers, constraint_sets, constraint_modes)
"""What is written in place, as `{kind: {option: value}}`, by the annotations of single keys (see kinds.py)."""


def general(path: KeyPath) -> KeyPath:
    """The path with ANY in the place of names that the user chose and of positions in lists of sections."""
    found: KeyPath = ()
    for key in path:
        found = (*found, ANY if (*found, ANY) in SECTIONS else key)
    return found


def default(path: KeyPath) -> Any:
    """The default of the section's key at `path`, None where it must be given."""
    field = SECTIONS[path[:-1]].model_fields[str(path[-1])]
    return None if field.is_required() else field.get_default(call_default_factory=True)


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Advice on a key that is not known where it was written, and the path that was meant, where one is likely."""

    advice: str
    meant: KeyPath | None = None


class Keys:
    """The keys of the sections, and of the params of the classes that a configuration chose."""

    def __init__(self, classes: Mapping[KeyPath, type]) -> None:
        """List the keys; `classes` are the chosen ones by the paths of their blocks.

        Where the choice is not known, the keys of all classes of the block's registry are listed; a block that may be
        left out, and has no legal choice, gives none.
        """
        self._help: dict[KeyPath, str] = {}
        for path, section in SECTIONS.items():
            self._help |= {(*path, name): field.description or "" for name, field in section.model_fields.items()}
        for path, block in BLOCKS.items():
            chosen = [classes[path]] if path in classes else [] if _optional(path) else _all_classes(block).values()
            options = [option for cls in chosen for option in options_of(cls).values()]
            self._help |= {(*path, "params", option.name): option.help for option in options}

    def help(self, path: KeyPath) -> str:
        """What the key at `path` means, empty where nothing is said."""
        return self._help.get(general(path), "")

    def misplaced(self, path: KeyPath) -> Misplaced:
        """Where the unknown key at `path` belongs, or what it was to be."""
        key = canonical_key(str(path[-1]))
        beside, path = path[:-1], general(path)
        siblings = [known for known in self._help if known[:-1] == path[:-1]] or _options_of_kind(path[:-1])
        spelt = [known for known in siblings if canonical_key(str(known[-1])) == key]
        homes = [known for known in self._help if canonical_key(str(known[-1])) == key]
        homes = [known for known in homes if known[: len(path) - 1] == path[:-1]] or homes
        near = _nearest(key, siblings) or _nearest(key, list(self._help))
        if spelt:
            return Misplaced(f'did you mean "{spelt[0][-1]}"?', (*beside, spelt[0][-1]))
        if homes:
            return Misplaced(f"that key lives at {' or '.join(map(dotted, homes))}", homes[0])
        if others := self._other_classes(path):
            return Misplaced(f"it is an option of {', '.join(others)}")
        if near:
            meant, shown = ((*beside, near[-1]), near[-1]) if near in siblings else (near, dotted(near))
            return Misplaced(f'did you mean "{shown}"?', meant)
        names = ", ".join(str(known[-1]) for known in siblings)
        return Misplaced(f"keys that are known here: {names}" if names else "leave it out: there are no keys here")

    def _other_classes(self, path: KeyPath) -> list[str]:
        """The names under which the registry of the block at hand has a class with that option."""
        block = BLOCKS.get(path[:-2])
        if block is None or path[-2] != "params":
            return []
        return [name for name, cls in _all_classes(block).items() if path[-1] in options_of(cls)]


def _options_of_kind(path: KeyPath) -> list[KeyPath]:
    """The keys at `path` where its last one names a schedule, a constraint or a regulariser (see kinds.py)."""
    for registry in KINDS:
        if path and canonical_key(str(path[-1])) in map(canonical_key, registry.names()):
            cls: Any = registry.get(str(path[-1]))
            return [(*path, option) for option in options_of(cls)]
    return []


def _optional(path: KeyPath) -> bool:
    field = SECTIONS[path[:-1]].model_fields[str(path[-1])]
    return not field.is_required() and default(path) is None


def _all_classes(block: type[Block]) -> dict[str, type]:
    return {name: block.registry.get(name) for name in block.registry.names()}


def _nearest(key: str, candidates: list[KeyPath]) -> KeyPath | None:
    by_name = {canonical_key(str(path[-1])): path for path in reversed(candidates)}
    near = difflib.get_close_matches(key, by_name, n=1)
    return by_name[near[0]] if near else None
