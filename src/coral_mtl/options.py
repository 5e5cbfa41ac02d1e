"""The options of a class, read from its own signature and docstring.

One declaration serves YAML validation, Python calls, `strategies show`, the JSON schema and CONFIGS_README.md: the
**keyword-only** parameters of `__init__` are the options (what a run gives by itself stays positional), their
annotations carry the ranges (`Annotated[float, Gt(0)]`), and the `Args:` section of the docstring carries the help.
A class that passes `**options` on to the one that it extends has the options of that one too.
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Interval
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from coral_mtl.errors import CoralError

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
ProperFraction = Annotated[float, Interval(ge=0, lt=1)]
OpenFraction = Annotated[float, Interval(gt=0, lt=1)]


class MaybeFolder(str):
    """A folder where there is one of this path, else the name of something on a server."""


FolderOrName = Annotated[str, AfterValidator(MaybeFolder)]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a class: its name, annotation, default (`...` when it must be given) and help text."""

    name: str
    annotation: Any
    default: Any
    help: str


@functools.cache
def options_of(cls: Any) -> dict[str, Option]:
    """Return the options of `cls` by name, first those that it passes on to the class it extends."""
    init = inspect.unwrap(cls.__init__)
    parameters = inspect.signature(init).parameters
    hints = get_type_hints(init, include_extras=True)
    help_texts = {**_argument_help(cls.__doc__), **_argument_help(init.__doc__)}
    own = {
        name: Option(
            name=name,
            annotation=hints.get(name, Any),
            default=... if parameter.default is inspect.Parameter.empty else parameter.default,
            help=help_texts.get(name, ""),
        )
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    above = [base for base in cls.__mro__ if inspect.unwrap(base.__init__) is not init]
    return options_of(above[0]) | own if passes_on and above else own


@functools.cache
def options_model(cls: Any) -> type[BaseModel]:
    """Return a pydantic model with one field per option of `cls`; unknown fields are errors."""
    fields: dict[str, Any] = {
        option.name: (option.annotation, Field(default=option.default, description=option.help))
        for option in options_of(cls).values()
    }
    config = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(f"{cls.__name__}Options", __config__=config, **fields)


def check_options(cls: type, values: dict[str, Any], error: type[CoralError]) -> None:
    """Raise `error`, naming every wrong value of `values`, unless all are legal options of `cls`."""
    try:
        options_model(cls).model_validate(values)
    except ValidationError as problems:
        lines = [f"{'.'.join(map(str, p['loc']))} = {p['input']!r}: {p['msg']}" for p in problems.errors()]
        if any(p["type"] == "extra_forbidden" and len(p["loc"]) == 1 for p in problems.errors()):
            lines.append(f"the options are {', '.join(options_of(cls)) or 'none'}")
        raise error(f"{cls.__name__}: " + "; ".join(lines) + f"\n    see: help({cls.__name__})") from None


def checked(cls: type, error: type[CoralError]) -> type:
    """Make `cls` check its options when it is built: each against its annotation, and that none given goes unused.

    A class says which options are idle beside the others with a method `unused_options() -> {name: reason}`.
    """
    init: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(init)
    def checked_init(self: Any, *args: Any, **options: Any) -> None:
        own: Any = type(self)
        if inspect.unwrap(own.__init__) is not inspect.unwrap(init):
            init(self, *args, **options)  # called by a subclass, whose own options are the ones to check
            return
        given = {name: value for name, value in options.items() if name not in _positional(own)}
        check_options(own, given, error)
        init(self, *args, **options)
        if hasattr(self, "unused_options"):
            _refuse_unused(self, given, error)

    cls.__init__ = checked_init  # type: ignore[misc]
    return cls


def _positional(cls: Any) -> set[str]:
    parameters = inspect.signature(inspect.unwrap(cls.__init__)).parameters
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return {name for name, parameter in parameters.items() if parameter.kind not in by_name}


def _refuse_unused(instance: Any, given: dict[str, Any], error: type[CoralError]) -> None:
    unused = {name: reason for name, reason in instance.unused_options().items() if name in given}
    if unused:
        reasons = "; ".join(f"{name} has no effect: {reason}" for name, reason in unused.items())
        advice = f"leave {'it' if len(unused) == 1 else 'them'} out"
        raise error(f"{type(instance).__name__}: {reasons}\n    {advice}", option=next(iter(unused)), unused=unused)


def _argument_help(docstring: str | None) -> dict[str, str]:
    """Read the `Args:` section of a docstring: one `name: text` a line, continuation lines indented further."""
    match = re.search(r"^\s*Args:\s*\n(.*?)(?:\n\s*\n\s*\S+:\s*\n|\Z)", docstring or "", re.S | re.M)
    if match is None:
        return {}
    section = inspect.cleandoc("\n" + match.group(1))
    entries = re.findall(r"^(\w+):[ \t]*(.*(?:\n[ \t]+.*|\n(?=[ \t]*\n))*)", section, re.M)
    return {name: " ".join(text.split()) for name, text in entries}
