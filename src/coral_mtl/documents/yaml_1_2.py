"""YAML 1.2 text to a tree that remembers where every key was written, and plain values back to text.

The scalars are those of the core schema: `6e-5` and `.5` are numbers, `on` and `yes` are text, only `true` and `false`
are booleans, octal is `0o17`. Keys are text as written, so that a task may be called `on` or `1`. Aliases stand for
their anchor's value, whose keys keep the place where the anchor is. Duplicate keys, merge keys (`<<`, which left YAML
with version 1.2) and tags that would build objects are problems.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from coral_mtl.documents.problems import ConfigErrors, KeyPath, Place, Problem

_TAG = "tag:yaml.org,2002:"
_IMPLICIT: list[tuple[str, str, list[str]]] = [
    ("null", r"^(?:null|Null|NULL|~|)$", [*"nN~", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", [*"-+0123456789"]),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        [*"-+.0123456789"],
    ),
]
_LARGEST_DOCUMENT = 100_000  # values; nested aliases could otherwise unfold without end


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - the attribute PyYAML reads


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, _pattern, _first in _IMPLICIT:
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)
    _Dumper.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)
_Dumper.add_representer(list, lambda dumper, items: dumper.represent_sequence(_TAG + "seq", items, flow_style=True))


@dataclass(slots=True)
class Node:
    """A value of a document: a scalar, a list of nodes, or a dict of nodes by key.

    `place` is that of its key, or for an item of a list of the item itself.
    """

    value: Any
    place: Place

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value

    def deepest(self, path: KeyPath) -> "Node":
        """The node at `path`, or the last one on the way to it that exists."""
        node = self
        for key in path:
            is_key = isinstance(node.value, dict) and key in node.value
            is_position = isinstance(node.value, list) and isinstance(key, int) and key < len(node.value)
            if not is_key and not is_position:
                break
            node = node.value[key]
        return node


def parse(text: str, place: Callable[[int, int], Place], path: KeyPath = ()) -> tuple[Node, list[Problem]]:
    """Read YAML text whose place at (line, column) is `place(line, column)`, to stand at the key `path`.

    Return its tree and what is wrong with it short of its syntax; raise ConfigErrors where the syntax is broken. An
    empty text is null.
    """
    tree = _Tree(place)
    try:
        return tree.node(_Loader(text).get_single_node(), place(1, 1), path), tree.problems
    except RecursionError:
        raise ConfigErrors([Problem(place(1, 1), path, "lists or mappings are nested too deep to be read")]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigErrors([_syntax_problem(error, place)]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = place(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        raise ConfigErrors([Problem(where, (), f"character U+{error.character:04X} is not allowed in YAML")]) from None


def write(value: Any) -> str:
    """Return plain values (dicts, lists, numbers, text, booleans, None) as YAML that `parse` reads back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Tree:
    """Turns PyYAML's nodes into ours and notes the problems on the way."""

    def __init__(self, place: Callable[[int, int], Place]) -> None:
        self.problems: list[Problem] = []
        self._place = place
        self._open: set[int] = set()
        self._count = 0

    def node(self, source: yaml.Node | None, place: Place, path: KeyPath) -> Node:
        if source is None:
            return Node(None, place)
        self._count += 1
        if id(source) in self._open or self._count > _LARGEST_DOCUMENT:
            raise ConfigErrors([Problem(place, path, "this alias unfolds without end")])
        self._open.add(id(source))
        value = self._value(source, place, path)
        self._open.discard(id(source))
        return Node(value, place)

    def _value(self, source: yaml.Node, place: Place, path: KeyPath) -> Any:
        kind = source.tag.removeprefix(_TAG)
        if isinstance(source, yaml.MappingNode) and kind == "map":
            return self._mapping(source, path)
        if isinstance(source, yaml.SequenceNode) and kind == "seq":
            items = enumerate(source.value)
            return [self.node(item, self._place_of(item), (*path, position)) for position, item in items]
        if isinstance(source, yaml.ScalarNode) and kind in _SCALARS:
            return self._scalar(source, kind, place, path)
        self._report(
            place, path, f"the tag {source.tag!r} is not allowed", "a configuration is plain data: leave it out"
        )
        return None

    def _mapping(self, source: yaml.MappingNode, path: KeyPath) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        for key_node, value_node in source.value:
            place = self._place_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(place, path, "a key must be a single word, not a list or a mapping", "")
                continue
            key = key_node.value
            node = self.node(value_node, place, (*path, key))
            if key == "<<" and key_node.style is None:
                advice = "YAML 1.2 has no merge keys: write the keys out, or give the whole value as an alias"
                self._report(place, (*path, key), "merge keys are not supported", advice)
            elif key in mapping:
                self._duplicate(mapping[key], node, (*path, key))
            else:
                mapping[key] = node
        return mapping

    def _duplicate(self, first: Node, second: Node, path: KeyPath) -> None:
        message = f"duplicate key, first given in line {first.place.line}" if first.place.line else "duplicate key"
        self._report(second.place, path, message, "keep one of the two")
        if isinstance(first.value, dict) and isinstance(second.value, dict):
            first.value |= {key: node for key, node in second.value.items() if key not in first.value}

    def _scalar(self, source: yaml.ScalarNode, kind: str, place: Place, path: KeyPath) -> Any:
        try:
            value = _SCALARS[kind](source.value)
        except ValueError:
            self._report(place, path, f"{source.value!r} is not of the type that its tag says", "leave the tag out")
            return None
        if isinstance(value, float) and math.isnan(value):
            self._report(place, path, "not-a-number is no setting", "write a number, or leave the key out")
        return value

    def _place_of(self, source: yaml.Node) -> Place:
        return self._place(source.start_mark.line + 1, source.start_mark.column + 1)

    def _report(self, place: Place, path: KeyPath, message: str, advice: str) -> None:
        self.problems.append(Problem(place, path, message, advice))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _int(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": str,
}


def _syntax_problem(error: yaml.MarkedYAMLError, place: Callable[[int, int], Place]) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = place(mark.line + 1, mark.column + 1) if mark else place(1, 1)
    started = f" in line {error.context_mark.line + 1}" if error.context_mark else ""
    said = "; ".join(part for part in (error.problem, error.context and f"{error.context}{started}") if part)
    hint = next((advice for words, advice in _SYNTAX_ADVICE.items() if words in said), "")
    return Problem(where, (), f"not valid YAML: {said}", hint)


_SYNTAX_ADVICE = {
    "'\\t'": "indent with spaces: YAML allows no tabs there",
    "mapping values are not allowed": "look for a line that is indented too deep, or a colon in text without quotes",
    "expected <block end>": "look for a line whose indentation fits no line above it",
    "expected a single document": "one file is one configuration: remove the line ---",
    "cannot start any token": "put the value in quotes",
}
