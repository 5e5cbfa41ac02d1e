"""Task definitions: which of a data set's classes each task tells apart, and how it groups them.

    genus:
      id2label: {0: unlabeled, 3: other coral dead, 6: other coral alive, 25: acropora alive}
      groupby:
        mapping: {0: 0, 1: [3, 6], 2: 25}
        id2label: {0: unlabeled, 1: other coral, 2: acropora}

`id2label` are ids of the masks with a name for each, `mapping` says which of them make each group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.documents.problems import ConfigErrors, KeyPath, Problem
from coral_mtl.documents.reading import read_mapping
from coral_mtl.documents.yaml_1_2 import Node
from coral_mtl.errors import DataError

IGNORE_INDEX = 255
"""Class index of pixels that count in no loss and no metric."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The ids that the masks of a data set hold: 0 to count - 1.

    One of them, `unlabeled`, marks pixels that nobody has labelled. In a task that lists it, it is class 0, and every
    id which the task does not list belongs to that class; in other tasks those ids are ignored. Pixels of the id itself
    are ignored in every task, unless `ignore_unlabeled` is false: then they are of class 0 too.
    """

    count: int
    unlabeled: int
    ignore_unlabeled: bool = True

    def table(self, classes: Sequence[int]) -> tuple[int, ...]:
        """Return the class index of every id, in a task that lists the ids `classes`, in the order of their indices."""
        rest = classes.index(self.unlabeled) if self.unlabeled in classes else IGNORE_INDEX
        indices = dict.fromkeys(range(self.count), rest) | {each: index for index, each in enumerate(classes)}
        if self.ignore_unlabeled:
            indices[self.unlabeled] = IGNORE_INDEX
        return tuple(indices.values())


def read_tasks(file: Path, labels: Labels) -> dict[str, TaskSpec]:
    """Read a file of task definitions; a task's classes are ordered by their ids, the unlabeled one first.

    Raises:
        DataError: with all problems of the file, each with its line and column.
    """
    try:
        root, problems = read_mapping(file, contents="its top has the names of the tasks, see docs/segmentation.md")
    except ConfigErrors as error:
        raise DataError(str(error), option="tasks") from None
    reader = _Reader(labels, problems)
    tasks = {name: reader.task(name, node) for name, node in root.value.items()}
    if not tasks:
        problems.append(Problem(root.place, (), "this file defines no task"))
    if problems:
        raise DataError(str(ConfigErrors(problems)), option="tasks")
    return {name: task for name, task in tasks.items() if task is not None}


class _Reader:
    """Turns nodes into tasks, and notes what is wrong with them; what has a problem comes back empty."""

    def __init__(self, labels: Labels, problems: list[Problem]) -> None:
        self._labels = labels
        self._problems = problems

    def task(self, name: str, node: Node) -> TaskSpec | None:
        found = len(self._problems)
        if not name or set(name) & set("./\\"):
            advice = "metrics are named with dots, and files with the names of tasks"
            self._report(node, (name,), "a task's name has a letter or more, and no dot or slash", advice)
        parts = self._parts(node, (name,), required=("id2label",), optional=("groupby",))
        classes = self._classes(parts["id2label"], (name, "id2label")) if "id2label" in parts else {}
        groups: dict[int, int] = {}
        group_names: dict[int, str] = {}
        if "groupby" in parts and classes:
            groups, group_names = self._groups(parts["groupby"], (name, "groupby"), classes)
        if len(self._problems) > found:
            return None
        numbers = {group: number for number, group in enumerate(sorted(group_names))}
        return TaskSpec(
            "segmentation",
            len(classes),
            IGNORE_INDEX,
            labels=tuple(classes.values()),
            groups=tuple(numbers[groups[each]] for each in classes if groups),
            group_labels=tuple(group_names[group] for group in numbers),
            class_of_id=self._labels.table(tuple(classes)),
        )

    def _classes(self, node: Node, path: KeyPath) -> dict[int, str]:
        """The names of the classes by id, in the order of their indices."""
        by_id = self._by_number(node, path)
        for number, each in by_id.items():
            if not 0 <= number < self._labels.count:
                self._report(each, path, f"no id {number} in this data set", f"ids are 0 to {self._labels.count - 1}")
        if len(by_id) == 1:
            advice = f"list {self._labels.unlabeled} too: that class takes every pixel of the ids that are not listed"
            self._report(node, path, "a task tells two classes or more apart, and here is one", advice)
        names = self._names(by_id, path)
        return {each: names[each] for each in sorted(names, key=lambda each: (each != self._labels.unlabeled, each))}

    def _groups(self, node: Node, path: KeyPath, classes: dict[int, str]) -> tuple[dict[int, int], dict[int, str]]:
        """The group of each class, and the names of the groups."""
        parts = self._parts(node, path, required=("mapping", "id2label"))
        if len(parts) < 2:
            return {}, {}
        mapping = self._by_number(parts["mapping"], (*path, "mapping"))
        named = self._by_number(parts["id2label"], (*path, "id2label"))
        members = self._members(mapping, (*path, "mapping"), classes)
        for group, each in mapping.items():
            if group not in named:
                self._report(
                    each, (*path, "mapping"), f"group {group} has no name", f"name it in {path[0]}.groupby.id2label"
                )
        for group, each in named.items():
            if group not in mapping:
                self._report(each, (*path, "id2label"), f"group {group} is empty: mapping gives it no class", "")
        for number in classes.keys() - members.keys():
            message = f"class {number} ({classes[number]}) is in no group"
            self._report(parts["mapping"], (*path, "mapping"), message, "put it into one")
        return {each: group for each, (group, _) in members.items()}, self._names(named, (*path, "id2label"))

    def _members(self, mapping: dict[int, Node], path: KeyPath, classes: dict[int, str]) -> dict[int, tuple[int, Node]]:
        """The group of each class that is in one, and where that is written."""
        members: dict[int, tuple[int, Node]] = {}
        for group, node in mapping.items():
            each_node = node.value if isinstance(node.value, list) else [node]
            if not each_node:
                self._report(node, path, f"group {group} is empty", "give it an id or a list of ids, or leave it out")
            for each in each_node:
                if not _is_number(each.value) or each.value not in classes:
                    advice = f"ids that the task lists: {_listed(classes)}"
                    self._report(each, path, f"the task has no class {_shown(each.value)} for group {group}", advice)
                elif each.value in members:
                    first, where = members[each.value]
                    message = f"class {each.value} is in group {first} already, in line {where.place.line}"
                    self._report(each, path, message, "a class is in one group")
                else:
                    members[each.value] = group, each
        return members

    def _names(self, by_number: dict[int, Node], path: KeyPath) -> dict[int, str]:
        names: dict[int, str] = {}
        for number, node in by_number.items():
            if not isinstance(node.value, str) or not node.value:
                self._report(node, path, f"the name of {number} is text, not {_shown(node.value)}", "put it in quotes")
            elif node.value in names.values():
                message = f'a second id, {number}, is called "{node.value}"'
                self._report(node, path, message, "give each its own name; groupby makes one group of several")
            else:
                names[number] = node.value
        return names

    def _by_number(self, node: Node, path: KeyPath) -> dict[int, Node]:
        """The values of a mapping by its keys, which are whole numbers."""
        if not isinstance(node.value, dict) or not node.value:
            self._report(node, path, f"expected ids with values, got {_shown(node.value)}", "such as 3: other coral")
            return {}
        values: dict[int, Node] = {}
        for key, each in node.value.items():
            if not key.isdecimal():
                self._report(each, path, f"an id is a whole number, not {key!r}", "")
            elif int(key) in values:
                message = f"{int(key)} is here a second time, after line {values[int(key)].place.line}"
                self._report(each, path, message, "keep one of the two")
            else:
                values[int(key)] = each
        return values

    def _parts(
        self, node: Node, path: KeyPath, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Node]:
        """The values of a mapping whose keys are known; the others are reported."""
        if not isinstance(node.value, dict):
            self._report(node, path, f"expected the keys {', '.join(required)}, got {_shown(node.value)}", "")
            return {}
        for key in node.value.keys() - {*required, *optional}:
            known = f"keys that are known here: {', '.join((*required, *optional))}"
            self._report(node.value[key], (*path, key), "unknown key", known)
        for key in required:
            if key not in node.value:
                self._report(node, (*path, key), "this key must be given", "see docs/segmentation.md")
        return {key: each for key, each in node.value.items() if key in (*required, *optional)}

    def _report(self, node: Node, path: KeyPath, message: str, advice: str) -> None:
        self._problems.append(Problem(node.place, path, message, advice))


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "keys and values" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(value)
