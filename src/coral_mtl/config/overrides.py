"""Overrides: `key.path=value` from the command line, put into a configuration before it is checked."""

from collections.abc import Sequence

from coral_mtl.config.keys import BLOCKS
from coral_mtl.documents.problems import ConfigErrors, KeyPath, Place, Problem, dotted
from coral_mtl.documents.yaml_1_2 import Node, parse
from coral_mtl.registry import canonical_key


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Problem]:
    """Put each override into the tree `root`, and return what is wrong with them.

    The value is YAML (a scalar, or a list or mapping in flow style) and replaces what the file says; sections on the
    way are made where there are none, and of two overrides the one for the inner key holds. Another `type` takes the
    place of the file's type together with its `params`, which are the options of a class that the run no longer uses;
    params given by overrides stay, in whatever order.
    """
    parsed: dict[KeyPath, Node] = {}
    problems: list[Problem] = []
    for position, override in enumerate(overrides, start=1):
        place = Place(position, 0, 0, f"override {override}")
        try:
            path, node, found = _parse(override, place)
        except ConfigErrors as error:
            problems += error.problems
            continue
        if path in parsed:
            found.append(Problem(place, path, "another override gives this key too", "keep one of the two"))
        parsed[path] = node
        problems += found
    outermost_first = sorted(parsed, key=lambda path: (len(path), path[-1] != "type"))
    return problems + [problem for path in outermost_first for problem in _put(root, path, parsed[path])]


def _parse(override: str, place: Place) -> tuple[KeyPath, Node, list[Problem]]:
    keys, equals, text = override.partition("=")
    path = tuple(key.strip() for key in keys.split("."))
    if not equals or not all(path):
        raise ConfigErrors([Problem(place, (), "not an override", "write key.path=value, such as trainer.epochs=3")])
    node, problems = parse(text, lambda line, column: place, path)
    return path, node, problems


def _put(root: Node, path: KeyPath, new: Node) -> list[Problem]:
    """Put `new` at `path`; an override of a key within something that has no keys is a problem."""
    parent = root
    for depth, key in enumerate(path[:-1], start=1):
        child = parent.value.setdefault(key, Node(None, new.place))
        if child.value is None:
            parent.value[key] = child = Node({}, child.place)
        if not isinstance(child.value, dict):
            advice = f"override {dotted(path[:depth])} as a whole"
            return [Problem(new.place, path, f"{dotted(path[:depth])} has no keys", advice)]
        parent = child
    if path[-1] == "type" and _changes_type(parent, path[:-1], new):
        parent.value.pop("params", None)
    parent.value[path[-1]] = new
    return []


def _changes_type(parent: Node, path: KeyPath, new: Node) -> bool:
    block = BLOCKS.get(path)
    if block is None:
        return False
    old = parent.value["type"].value if "type" in parent.value else block.model_fields["type"].default
    return canonical_key(str(old)) != canonical_key(str(new.value))
