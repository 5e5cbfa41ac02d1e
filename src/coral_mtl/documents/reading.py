"""A file of YAML to a tree that remembers where every key was written."""

from pathlib import Path

from coral_mtl.documents.problems import ConfigErrors, Place, Problem
from coral_mtl.documents.yaml_1_2 import Node, parse


def read_mapping(file: Path, *, contents: str) -> tuple[Node, list[Problem]]:
    """Return the tree of a YAML file whose top is a mapping, and what is wrong with it short of its syntax.

    Args:
        file: the path, as it is to stand in messages.
        contents: what is expected at the top, in the words of the advice.

    Raises:
        ConfigErrors: the file cannot be read, is not UTF-8, has broken syntax, or no mapping at its top.
    """

    def place(line: int = 0, column: int = 0) -> Place:
        return Place(0, line, column, str(file))

    try:
        content = file.read_bytes()
    except OSError as error:
        advice = f"a relative path counts from the current folder, {Path.cwd()}"
        raise ConfigErrors([Problem(place(), (), f"cannot read this file: {error.strerror}", advice)]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        where = place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise ConfigErrors([Problem(where, (), "not UTF-8 text", "save the file with the encoding UTF-8")]) from None
    root, problems = parse(text, place)
    if not isinstance(root.value, dict):
        what = "empty" if root.value is None else "no mapping of keys to values"
        raise ConfigErrors([*problems, Problem(root.place, (), f"this file is {what}", contents)])
    return root, problems
