"""Objects written in place: `{kind: {option: value}}`, or the kind's name alone where nothing has to be given.

Schedules, constraints and regularisers are written like this wherever an option takes one; a block with `type` and
`params` stands at a fixed key instead. What is checked stays as it was written, so that a configuration is plain data;
`build_kind` makes the object.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from coral_mtl.errors import CoralError
from coral_mtl.options import options_model, options_of
from coral_mtl.registry import Registry, UnknownNameError

PLACEHOLDER = "x-kinds"
"""Key of the JSON schema of a kind, to be replaced by what its registry holds (config/json_schema.py)."""


def written_name(name: str) -> str:
    """Return the name of a class as it is written in YAML: `WarmupCosine` is `warmup_cosine`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def written_names(registry: Registry) -> list[str]:
    """Return the names of all classes of a registry as they are written."""
    return [written_name(name) for name in registry.names()]


def class_of(registry: Registry, name: str, others: Sequence[str] = ()) -> Any:
    """Return the class that `name` stands for; raise UnknownNameError, which knows `others` too, if there is none."""
    try:
        return registry.get(name)
    except UnknownNameError:
        raise UnknownNameError(registry.kind, name, [*written_names(registry), *others]) from None


def build_kind(registry: Registry, written: str | Mapping[str, Any], *arguments: Any) -> Any:
    """Build what was written, with what the run provides by position.

    Raises:
        CoralError: there is no such kind, or it refuses its options.
    """
    name, options = (written, {}) if isinstance(written, str) else next(iter(written.items()))
    return class_of(registry, name)(*arguments, **options)


@dataclass(frozen=True)
class KindForm:
    """Annotation of an option that takes one object of a registry in this form.

    registry: the classes to choose from.
    complete: whether the options are all that a class is built from, so that building one is a check.
    """

    registry: Registry
    complete: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.validated)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {PLACEHOLDER: self.registry.kind}

    def names(self) -> Sequence[str]:
        """Names that may stand alone beside those of the classes."""
        return ()

    def validated(self, value: Any, info: ValidationInfo) -> Any:
        """Return `value` unchanged if it can be built; otherwise pydantic learns what is wrong, and where."""
        options: Any = {}
        if isinstance(value, str):
            name = value
        elif isinstance(value, Mapping) and len(value) == 1:
            name, options = next(iter(value.items()))
        else:
            form = f"the name of a {self.registry.kind}, or a mapping of one name to its options"
            raise _problem(f"expected {form}, got {_shown(value)}\nknown: {', '.join(self._known())}")
        if name in self.names() and isinstance(value, str):
            return value
        try:
            cls = class_of(self.registry, name, self.names())
        except UnknownNameError as error:
            raise _problem(str(error)) from None
        adapter = _options_by_name(cls)
        if info.mode == "json":
            adapter.validate_json(json.dumps({name: options}), strict=True)
        else:
            adapter.validate_python({name: options})
        if self.complete:
            try:
                cls(**options)
            except CoralError as error:
                raise _problem(str(error)) from None
        return value

    def _known(self) -> list[str]:
        return [*written_names(self.registry), *self.names()]


def alone(registry: Registry) -> list[str]:
    """Return the names of the classes that need no option, which may be written without a mapping."""
    classes: dict[str, Any] = {written_name(name): registry.get(name) for name in registry.names()}
    return [
        name for name, cls in classes.items() if not any(option.default is ... for option in options_of(cls).values())
    ]


@functools.cache
def _options_by_name(cls: Any) -> TypeAdapter[Any]:
    """What checks `{name: options}`, so that every problem is told with its path from the name on."""
    return TypeAdapter(dict[str, options_model(cls)])  # type: ignore[misc, arg-type]


def _problem(message: str) -> PydanticCustomError:
    return PydanticCustomError("kind", "{message}", {"message": message})


def _shown(value: Any) -> str:
    return f"{len(value)} keys" if isinstance(value, Mapping) else repr(value)
