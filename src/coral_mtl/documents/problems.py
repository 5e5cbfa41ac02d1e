"""What is wrong with a configuration and where: places, problems, and the one error that carries them all."""

from collections.abc import Iterable
from dataclasses import dataclass

from coral_mtl.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The keys from the top of a configuration down to a value; an integer is a position in a list, from 0."""


def dotted(path: KeyPath) -> str:
    """Write a key path as people do: `loss.weighting_strategy.type`."""
    return ".".join(map(str, path))


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """Where something was written; places sort in reading order, the file first and then the overrides.

    order: 0 for the file, n for the n-th override.
    line, column: both from 1; 0 where the source is not a file.
    source: the file's path as the user gave it, or the override.
    """

    order: int
    line: int
    column: int
    source: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    @property
    def is_override(self) -> bool:
        """Whether this was written on the command line and not in the file."""
        return self.order > 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the place, the key (empty for the file as a whole), what is wrong and why, and what to do next."""

    place: Place
    path: KeyPath
    message: str
    advice: str = ""

    def __str__(self) -> str:
        first = ": ".join(part for part in (str(self.place), dotted(self.path), self.message) if part)
        return first + "".join(f"\n    {line.strip()}" for line in self.advice.splitlines())


class ConfigErrors(ConfigError):  # noqa: N818 - it holds many
    """All problems of a configuration, in the order of their places, one below the other."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.place))
        super().__init__("\n".join(map(str, self.problems)))
