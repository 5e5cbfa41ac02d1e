"""The JSON schema of a configuration, with which editors complete and check its keys, those of params included."""

import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from coral_mtl.config.keys import BLOCKS
from coral_mtl.config.sections import Block, Config
from coral_mtl.options import options_model


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


def _any_spelling(name: str) -> str:
    """Return a pattern for `name` whatever its case, `_` and `-`."""
    letters = [
        f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else re.escape(letter)
        for letter in name
        if letter not in "_-"
    ]
    return f"^[-_]*{'[-_]*'.join(letters)}[-_]*$"
