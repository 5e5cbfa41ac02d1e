"""The tables of CONFIGS_README.md: every key with its type, default, range and meaning, read from the JSON schema."""

import json
from collections.abc import Iterator
from typing import Any

from coral_mtl.config.json_schema import names_alone, options_schema, sections_schema
from coral_mtl.config.keys import BLOCKS, KINDS, SECTIONS
from coral_mtl.config.sections import Block, Config
from coral_mtl.documents.problems import KeyPath, dotted
from coral_mtl.kinds import written_name
from coral_mtl.registry import Registry

Schema = dict[str, Any]

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "array": "list",
    "object": "mapping",
}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def reference_tables() -> str:
    """Return the Markdown tables of all sections, and of the options of all registered classes."""
    blocks = [part for path, block in BLOCKS.items() if path[-1] != "times" for part in _options(path, block)]
    return "\n\n".join([*_sections(), *blocks, *(part for registry in KINDS for part in _kinds(registry))])


def summary(cls: type) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())


def _sections() -> Iterator[str]:
    schema = sections_schema()
    yield "## Sections"
    for path, section in SECTIONS.items():
        yield f"### `{dotted(path)}`" if path else "### Top level"
        yield summary(section)
        yield _table(schema if section is Config else schema["$defs"][section.__name__])


def _options(path: KeyPath, block: type[Block]) -> Iterator[str]:
    yield f"## `{dotted(path)}.params`, by type"
    for name in block.registry.names():
        cls = block.registry.get(name)
        schema = options_schema(cls)
        yield f"### {name}"
        yield summary(cls)
        yield _table(schema) if schema["properties"] else "No options."


def _kinds(registry: Registry) -> Iterator[str]:
    yield f"## Kinds of {registry.kind}"
    alone = ", ".join(f"`{name}`" for name in names_alone(registry))
    yield f"Written as one name with its options; as the name alone: {alone or 'none'}."
    for name in registry.names():
        cls = registry.get(name)
        schema = options_schema(cls)
        yield f"### `{written_name(name)}`"
        yield summary(cls)
        yield _table(schema) if schema["properties"] else "No options."


def _table(schema: Schema) -> str:
    rows = [("key", "type", "default", "range", "meaning"), ("---",) * 5, *key_rows(schema)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def key_rows(schema: Schema) -> list[tuple[str, str, str, str, str]]:
    """Return key, type, default, range and meaning of each key of a section or of the options of a class, in words."""
    rows = []
    for name, field in schema["properties"].items():
        missing = "must be given" if name in schema.get("required", []) else ""
        default = f"`{json.dumps(field['default'])}`" if "default" in field else missing
        rows.append((f"`{name}`", _type(field), default, _range(field), field.get("description", "see its own table")))
    return rows


def _type(field: Schema) -> str:
    """The type of a value in words."""
    match field:
        case {"x-kinds": kind}:
            words = str(kind)
        case {"anyOf": branches}:
            words = " or ".join(map(_type, branches))
        case {"enum": choices}:
            words = " or ".join(f"`{choice}`" for choice in choices)
        case {"const": choice}:
            words = f"`{choice}`"
        case {"prefixItems": items}:
            words = f"list of {len(items)}: {', '.join(map(_type, items))}"
        case {"items": item}:
            words = f"list of {_type(item)}"
        case {"additionalProperties": dict() as value}:
            words = f"mapping of names to {_type(value)}"
        case {"format": "path"}:
            words = "path"
        case {"$ref": _}:
            words = "section"
        case _:
            words = _TYPES.get(field.get("type", ""), "anything")
    return words


def _range(field: Schema) -> str:
    """The bounds of a number, or of each number within a list, a mapping or a union."""
    bounds = [f"{sign} {field[key]}" for key, sign in _BOUNDS.items() if key in field]
    bounds += [f"`{field['pattern']}`"] if "pattern" in field else []
    inner = [*field.get("anyOf", []), *field.get("prefixItems", [])]
    inner += [field[key] for key in ("items", "additionalProperties") if isinstance(field.get(key), dict)]
    return ", ".join(dict.fromkeys(bound for bound in (*bounds, *map(_range, inner)) if bound))
