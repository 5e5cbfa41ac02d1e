"""A configuration while it is read: its tree, and the problems found so far."""

from pathlib import Path
from typing import Any

from coral_mtl.config.keys import default
from coral_mtl.documents.problems import KeyPath, Problem
from coral_mtl.documents.yaml_1_2 import Node

_MISSING = object()


class Draft:
    """The keys of a configuration as written, with their places, and what is wrong with them.

    problems: those found so far.
    idle: the written keys that have no effect beside the others, each with the reason.
    doubtful: the paths whose meaning is not known because of a problem; checks that depend on one are left out, so that
        no problem is reported that is only the consequence of another.
    """

    def __init__(self, root: Node, problems: list[Problem], folder: Path) -> None:
        """Start from a tree whose top is a mapping, what is wrong with it so far, and the folder of its file."""
        self.root = root
        self.folder = folder.absolute()
        self.plain: dict[str, Any] = root.plain()
        self.problems = list(problems)
        self.idle: dict[KeyPath, str] = {}
        self.doubtful = {problem.path for problem in problems if problem.path}

    def report(self, path: KeyPath, message: str, advice: str = "") -> None:
        """Note a problem with the key at `path`, at its place, or at the nearest key above it that was written."""
        place = self.root.deepest(path).place
        self.problems.append(Problem(place, path, message, advice))
        self.doubtful.add(path)

    def find(self, path: KeyPath, otherwise: Any = None) -> Any:
        """The value written at `path`, or `otherwise` where there is none."""
        value: Any = self.plain
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return otherwise
            value = value[key]
        return value

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        """The mapping written at `path`; empty where there is none, or something else."""
        value = self.find(path)
        return value if isinstance(value, dict) else {}

    def given(self, path: KeyPath) -> bool:
        """Whether the key at `path` was written."""
        return self.find(path, _MISSING) is not _MISSING

    def value(self, path: KeyPath) -> Any:
        """The value written at the path of a section's key, or its default."""
        return self.find(path, default(path))

    def sure(self, path: KeyPath) -> bool:
        """Whether no problem touches the value at `path`: neither at it, nor above it, nor within it."""
        return not any(path[: len(other)] == other or other[: len(path)] == path for other in self.doubtful)

    def folder_at(self, path: KeyPath) -> Path:
        """The folder that a relative path written at `path` counts from."""
        return Path.cwd() if self.overridden(path) else self.folder

    def overridden(self, path: KeyPath) -> bool:
        """Whether the value at `path` comes from the command line."""
        return self.root.deepest(path).place.is_override
