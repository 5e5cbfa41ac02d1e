"""The JSON schema of a configuration, with which editors complete and check its keys, those of params included."""

import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from coral_mtl.config.keys import BLOCKS, KINDS
from coral_mtl.config.sections import Block, Config
from coral_mtl.kinds import PLACEHOLDER, alone, written_name
from coral_mtl.options import options_model
from coral_mtl.registry import Registry, schedules
from coral_mtl.schedules import PRESETS


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes from the names of keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def sections_schema() -> dict[str, Any]:
    """Return the schema of the sections, with `type` any text and `params` any mapping."""
    return Config.model_json_schema(schema_generator=_Untitled)


def options_schema(cls: type) -> dict[str, Any]:
    """Return the schema of the options of a class."""
    schema = options_model(cls).model_json_schema(ref_template="#/$defs/{model}", schema_generator=_Untitled)
    schema.pop("title")
    return schema


def json_schema() -> dict[str, Any]:
    """Return the whole schema (draft 2020-12), with the types of every registry and the options of each."""
    schema = sections_schema()
    for block in BLOCKS.values():
        _complete(schema["$defs"][block.__name__], block, schema["$defs"])
    for registry in KINDS:
        schema["$defs"][_definition(registry)] = _kinds_of(registry, schema["$defs"])
    _fill_in(schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "coral-mtl configuration"}


def _complete(definition: dict[str, Any], block: type[Block], definitions: dict[str, Any]) -> None:
    """Let `type` be a name of the block's registry, and `params` the options of the class of that name."""
    names = block.registry.names()
    spellings = "|".join(map(_any_spelling, names))
    definition["properties"]["type"]["anyOf"] = [{"enum": names}, {"pattern": spellings}]
    definition["allOf"] = [_options_of(name, block, definitions) for name in names]


def _options_of(name: str, block: type[Block], definitions: dict[str, Any]) -> dict[str, Any]:
    """If the type is `name`, or is not given and `name` is the default, then the params are its options."""
    options = options_schema(block.registry.get(name))
    definitions |= options.pop("$defs", {})
    named: dict[str, Any] = {"properties": {"type": {"pattern": _any_spelling(name)}}}
    if name != block.model_fields["type"].default:
        named["required"] = ["type"]
    then: dict[str, Any] = {"properties": {"params": options}}
    if "required" in options:
        then["required"] = ["params"]
    return {"if": named, "then": then}


def _kinds_of(registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """One kind of a registry with its options, or the name of one that needs none."""
    by_name = {written_name(name): options_schema(registry.get(name)) for name in registry.names()}
    for options in by_name.values():
        definitions |= options.pop("$defs", {})
    mapping = {"type": "object", "properties": by_name, "additionalProperties": False, "minProperties": 1}
    return {"anyOf": [{"enum": names_alone(registry)}, {**mapping, "maxProperties": 1}]}


def names_alone(registry: Registry) -> list[str]:
    """Return the names that may stand without options: those of classes that need none, and of presets."""
    return [*alone(registry), *(PRESETS if registry is schedules else ())]


def _definition(registry: Registry) -> str:
    return registry.kind.title().replace(" ", "")


def _fill_in(part: Any) -> None:
    """Let each placeholder that an annotation left in the schema refer to the kinds of its registry."""
    if isinstance(part, dict):
        if PLACEHOLDER in part:
            kind = part.pop(PLACEHOLDER)
            part["$ref"] = next(f"#/$defs/{_definition(registry)}" for registry in KINDS if registry.kind == kind)
        for inner in part.values():
            _fill_in(inner)
    elif isinstance(part, list):
        for inner in part:
            _fill_in(inner)


def _any_spelling(name: str) -> str:
    """Return a pattern for `name` whatever its case, `_` and `-`."""
    letters = [
        f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else re.escape(letter)
        for letter in name
        if letter not in "_-"
    ]
    return f"^[-_]*{'[-_]*'.join(letters)}[-_]*$"
