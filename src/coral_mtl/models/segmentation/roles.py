"""Which tasks of the data are primary, and which are there to help them."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # before Python 3.12, pydantic does not take that of typing

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError


@with_config(ConfigDict(extra="forbid"))
class TaskRoles(TypedDict, total=False):
    """Names of tasks by their role."""

    primary: list[str]
    auxiliary: list[str]


class Roles(NamedTuple):
    """Every task of the data, in one of the two roles."""

    primary: tuple[str, ...]
    auxiliary: tuple[str, ...]


def resolved_roles(given: TaskRoles | None, tasks: Iterable[str]) -> Roles:
    """Return the role of each of `tasks`; where one role is not given, it is that of all tasks without the other.

    Raises:
        ConfigError: a name is no task of the data, or is there twice; a task has no role; or none is primary.
    """
    known = list(tasks)
    named = given or TaskRoles()
    everyone = [*named.get("primary", []), *named.get("auxiliary", [])]
    for name in everyone:
        _require_known(name, known)
    twice = [name for name in known if everyone.count(name) > 1]
    _refuse(twice, "{} has two roles", "name each task once")
    rest = [name for name in known if name not in everyone]
    if len(named) == 2:
        _refuse(rest, "{} of the data has no role", "add it to primary or auxiliary, or leave one of the two lists out")
    primary = named.get("primary", rest)
    if not primary:
        raise ConfigError("tasks: no task is primary\n    name one or more under primary", option="tasks")
    return Roles(tuple(primary), tuple(named.get("auxiliary", rest if "primary" in named else [])))


def require_segmentation(model: str, input_shape: Sequence[int], tasks: Mapping[str, TaskSpec]) -> None:
    """Raise ConfigError unless the inputs are images and every task is a segmentation."""
    other = next(
        (f"the task {name!r} is a {task.kind}" for name, task in tasks.items() if task.kind != "segmentation"), ""
    )
    if len(input_shape) != 3:
        other = f"these inputs have the shape {tuple(input_shape)}"
    if other:
        raise ConfigError(f"{model} takes images (channels, height, width) to segmentations, and {other}")


def _require_known(name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"tasks: the data have no task {name!r}\n    {hint}known: {', '.join(known)}",
            option="tasks",
        )


def _refuse(names: Sequence[str], problem: str, advice: str) -> None:
    if names:
        raise ConfigError(f"tasks: {problem.format(repr(names[0]))}\n    {advice}", option="tasks")
