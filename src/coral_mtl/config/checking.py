"""Values against their types and ranges, told in plain words."""

import difflib
import json
import math
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coral_mtl.config.draft import Draft
from coral_mtl.config.keys import BLOCKS, Keys
from coral_mtl.documents.problems import KeyPath

Checked = TypeVar("Checked", bound=BaseModel)

_MAPPING = "keys with values, indented below it"
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "none_required": "null",
    "literal_error": "{expected}",
    "union_tag_invalid": "a mapping whose {discriminator} is one of {expected_tags}",
    "union_tag_not_found": "a mapping with the key {discriminator}",
    "enum": "{expected}",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "too_short": "at least {min_length} values",
    "too_long": "at most {max_length} values",
}


def check_values(draft: Draft, keys: Keys, model: type[Checked], path: KeyPath) -> Checked | None:
    """Return the values written at `path` as a `model`; report every problem and return None where there is one."""
    values = draft.find(path, {})
    try:
        # JSON mode: strict about types, and yet a list may fill a tuple and a text a path, as YAML has neither.
        return model.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        for where, details in _by_path(error, values).items():
            if (*path, *where) not in draft.doubtful:
                _report(draft, keys, (*path, *where), details)
        return None


def _by_path(error: ValidationError, values: Any) -> dict[KeyPath, list[ErrorDetails]]:
    """Gather the errors of each key; of the branches of a union, those that got deepest tell what was meant."""
    gathered: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors():
        gathered.setdefault(_written_path(details, values), []).append(details)
    return {
        path: details
        for path, details in gathered.items()
        if not any(len(other) > len(path) and other[: len(path)] == path for other in gathered)
    }


def _written_path(details: ErrorDetails, values: Any) -> KeyPath:
    """The error's path without the parts that name a branch of a union, which nobody wrote."""
    path: KeyPath = ()
    for part in details["loc"]:
        is_key = isinstance(values, dict) and part in values
        is_position = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if is_key or is_position:
            path, values = (*path, part), values[part]
    return (*path, details["loc"][-1]) if details["type"] == "missing" else path


def _report(draft: Draft, keys: Keys, path: KeyPath, errors: list[ErrorDetails]) -> None:
    kinds = {error["type"] for error in errors}
    if "extra_forbidden" in kinds:
        misplaced = keys.misplaced(path)
        draft.report(path, "unknown key", misplaced.advice)
        draft.doubtful |= {misplaced.meant} if misplaced.meant else set()
    elif "missing" in kinds and isinstance(path[-1], int):
        draft.report(path[:-1], "too few values in the list", keys.help(path[:-1]))
    elif "missing" in kinds:
        draft.report(path, "this key must be given", _known_types(path) or keys.help(path))
    else:
        value = errors[0]["input"]
        expected = list(dict.fromkeys(map(_expected, errors)))
        message = f"expected {' or '.join(expected)}, got {_shown(value)}" if all(expected) else _said(errors)
        message, _, said = message.partition("\n")
        draft.report(path, message, said or _advice(path, value, " ".join(expected)) or keys.help(path))


def _said(errors: list[ErrorDetails]) -> str:
    """The message of the first error that no common word stands for."""
    return next(error["msg"] for error in errors if not _expected(error))


def _known_types(path: KeyPath) -> str:
    """What may be given, where `path` is a block or the type of one."""
    block = BLOCKS.get(path) or BLOCKS.get(path[:-1])
    return f"known types: {', '.join(block.registry.names())}" if block and path[-1] != "params" else ""


def _expected(error: ErrorDetails) -> str:
    return _EXPECTED.get(error["type"], "").format(**error.get("ctx", {}))


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "keys and values" if isinstance(value, dict) else "a list"
    return f"the text {json.dumps(value, ensure_ascii=False)}" if isinstance(value, str) else json.dumps(value)


def _advice(path: KeyPath, value: Any, expected: str) -> str:
    """The next step, where the mistake is a common one; otherwise empty."""
    choices = re.findall(r"'([^']+)'", expected)
    near = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
    cases = {
        f'did you mean "{"".join(near)}"?': bool(near),
        "write it without quotes or underscores": "number" in expected and _is_number_text(value),
        f"write {path[-1]}: {{type: {value}}}": path in BLOCKS and isinstance(value, str),
        "leave out the dashes or brackets": expected == _MAPPING and isinstance(value, list),
        "nothing stands there: indent its value below it, or leave the key out": value is None,
        "put it in quotes": expected == "text" and isinstance(value, int | float),
    }
    return next((advice for advice, fits in cases.items() if fits), "")


def _is_number_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
