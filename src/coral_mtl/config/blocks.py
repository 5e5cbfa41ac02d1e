"""The `type` and `params` of every block: names to classes, params to the options of these classes."""

from dataclasses import dataclass
from typing import Any

from coral_mtl.config.checking import check_values
from coral_mtl.config.draft import Draft
from coral_mtl.config.keys import BLOCKS, Keys
from coral_mtl.config.paths import anchored
from coral_mtl.documents.problems import KeyPath, dotted
from coral_mtl.options import options_model
from coral_mtl.registry import UnknownNameError, canonical_key, strategies


@dataclass(frozen=True, slots=True)
class Choice:
    """What a block asks for.

    name, cls: the class and its registered name.
    given: the options that were written.
    options: all options, with the defaults of those that were not.
    """

    name: str
    cls: Any
    given: dict[str, Any]
    options: dict[str, Any]


def resolve_types(draft: Draft) -> dict[KeyPath, type]:
    """Return the class of each block by the block's path; report the names that no class has."""
    classes: dict[KeyPath, type] = {}
    for path, block in BLOCKS.items():
        name = draft.value((*path, "type"))
        if not isinstance(name, str):
            continue  # missing, or of the wrong type: the check of the sections tells
        try:
            classes[path] = block.registry.get(name)
        except UnknownNameError as error:
            draft.report((*path, "type"), str(error).partition("\n")[0], _advice(error, path, name))
    return classes


def check_params(draft: Draft, keys: Keys, classes: dict[KeyPath, type]) -> dict[KeyPath, Choice]:
    """Return the choice of each block whose params are legal; report every problem of the others."""
    choices: dict[KeyPath, Choice] = {}
    for path, cls in classes.items():
        params = (*path, "params")
        if not isinstance(draft.find(params, {}), dict):
            continue  # the check of the sections tells
        options = check_values(draft, keys, options_model(cls), params)
        if options is not None:
            values = {
                name: anchored(draft, (*params, name), getattr(options, name)) for name in type(options).model_fields
            }
            given = {name: value for name, value in values.items() if name in options.model_fields_set}
            choices[path] = Choice(BLOCKS[path].registry.name_of(cls), cls, given, values)
    return choices


def _advice(error: UnknownNameError, path: KeyPath, name: str) -> str:
    home = _home(path, name)
    if home is not None:
        return f"that is a {BLOCKS[home].registry.kind}: it goes to {dotted((*home, 'type'))}"
    more = " (see: coral-mtl strategies list)" if BLOCKS[path].registry is strategies else ""
    if error.suggestion:
        return f'did you mean "{error.suggestion}"?{more}'
    return f"known: {', '.join(BLOCKS[path].registry.names())}{more}"


def _home(path: KeyPath, name: str) -> KeyPath | None:
    """The other block whose registry knows `name`."""
    for other, block in BLOCKS.items():
        if other != path and canonical_key(name) in map(canonical_key, block.registry.names()):
            return other
    return None
