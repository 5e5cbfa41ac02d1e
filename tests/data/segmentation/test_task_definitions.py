import json
from pathlib import Path

import pytest
import yaml

from coral_mtl.data.segmentation.camvid import LABELS as STREETS
from coral_mtl.data.segmentation.coralscapes import LABELS as REEFS
from coral_mtl.data.segmentation.definitions import IGNORE_INDEX, Labels, read_tasks
from coral_mtl.errors import DataError

SHIPPED = Path(__file__).parents[3] / "configs" / "segmentation"
LABELS = Labels(count=10, unlabeled=0)


def tasks_of(tmp_path, text, labels=LABELS):
    file = tmp_path / "tasks.yaml"
    file.write_text(text)
    return read_tasks(file, labels)


def test_classes_are_ordered_by_id_with_the_unlabeled_one_first(tmp_path):
    labels = Labels(count=6, unlabeled=5)
    task = tasks_of(tmp_path, "t: {id2label: {3: c, 1: a, 5: rest}}", labels)["t"]
    assert (task.kind, task.size, task.labels, task.ignore_index) == ("segmentation", 3, ("rest", "a", "c"), 255)
    assert task.class_of_id == (0, 1, 0, 2, 0, IGNORE_INDEX)


def test_ids_that_a_task_does_not_list_are_ignored_where_it_has_no_class_for_them(tmp_path):
    task = tasks_of(tmp_path, "t: {id2label: {3: c, 1: a}}", Labels(count=5, unlabeled=0))["t"]
    assert task.class_of_id == (255, 0, 255, 1, 255)


@pytest.mark.parametrize("ignored", [True, False])
def test_pixels_that_nobody_labelled(tmp_path, ignored):
    tasks = tasks_of(
        tmp_path,
        "a: {id2label: {0: rest, 1: one}}\nb: {id2label: {1: one, 2: two}}",
        Labels(count=3, unlabeled=0, ignore_unlabeled=ignored),
    )
    assert tasks["a"].class_of_id == (255 if ignored else 0, 1, 0)
    assert tasks["b"].class_of_id == (255, 0, 1), "a task that does not list the id never counts it"


def test_groups_are_numbered_in_the_order_of_their_ids(tmp_path):
    text = "t: {id2label: {0: rest, 4: d, 2: b}, groupby: {mapping: {7: [0, 4], 3: 2}, id2label: {7: x, 3: y}}}"
    task = tasks_of(tmp_path, text)["t"]
    assert task.labels == ("rest", "b", "d")
    assert (task.groups, task.group_labels) == ((1, 0, 1), ("y", "x"))


GROUPED = "t:\n  id2label: {{0: rest, 1: a, 2: b}}\n  groupby:\n    mapping: {}\n    id2label: {}\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("t:\n  id2label:\n    1: a\n    10: b\n", "4:5: t.id2label", "no id 10 in this data set"),
        ("t:\n  id2label:\n    1: a\n    sand: b\n", "4:5: t.id2label", "an id is a whole number, not 'sand'"),
        ("t:\n  id2label:\n    1: a\n    -2: b\n", "4:5: t.id2label", "an id is a whole number, not '-2'"),
        ("t:\n  id2label:\n    1: a\n    1: b\n", "4:5: t.id2label.1", "duplicate key, first given in line 3"),
        ("t:\n  id2label:\n    1: a\n    01: b\n", "4:5: t.id2label", "1 is here a second time, after line 3"),
        ("t:\n  id2label:\n    1: a\n    2: a\n", "4:5: t.id2label", 'a second id, 2, is called "a"'),
        ("t:\n  id2label:\n    1: a\n    2: 5\n", "4:5: t.id2label", "the name of 2 is text, not 5"),
        ("t:\n  id2label:\n    1: a\n", "2:3: t.id2label", "two classes or more apart, and here is one"),
        ("t:\n  id2label: []\n", "2:3: t.id2label", "expected ids with values, got a list"),
        ("t:\n  labels: {1: a, 2: b}\n", "2:3: t.labels", "unknown key"),
        ("t:\n  groupby: {}\n", "1:1: t.id2label", "this key must be given"),
        ("t: 3\n", "1:1: t", "expected the keys id2label, got 3"),
        ("a.b:\n  id2label: {1: a, 2: b}\n", "1:1: a.b", "no dot"),
        ("alive/dead:\n  id2label: {1: a, 2: b}\n", "1:1: alive/dead", "no dot or slash"),
        ("'alive\\dead':\n  id2label: {1: a, 2: b}\n", "1:1: alive\\dead", "no dot or slash"),
        ("{}\n", "1:1", "this file defines no task"),
        ("", "1:1", "this file is empty"),
        ("t: [\n", "2:1", "not valid YAML"),
        (
            GROUPED.format("{0: 0, 1: [1, 2], 2: []}", "{0: x, 1: y, 2: z}"),
            "4:32: t.groupby.mapping",
            "group 2 is empty",
        ),
        (GROUPED.format("{0: 0, 1: [1, 2]}", "{0: x, 1: y, 2: z}"), "5:28: t.groupby.id2label", "group 2 is empty"),
        (GROUPED.format("{0: 0, 1: [1, 2]}", "{0: x}"), "4:21: t.groupby.mapping", "group 1 has no name"),
        (
            GROUPED.format("{0: [0, 1], 1: [1, 2]}", "{0: x, 1: y}"),
            "4:30: t.groupby.mapping",
            "in group 0 already, in line 4",
        ),
        (
            GROUPED.format("{0: 0, 1: [1, 1, 2]}", "{0: x, 1: y}"),
            "4:28: t.groupby.mapping",
            "in group 1 already, in line 4",
        ),
        (GROUPED.format("{0: 0, 1: [1, 2, 7]}", "{0: x, 1: y}"), "4:31: t.groupby.mapping", "the task has no class 7"),
        (
            GROUPED.format("{0: 0, 1: [1, 2, b]}", "{0: x, 1: y}"),
            "4:31: t.groupby.mapping",
            "the task has no class 'b'",
        ),
        (
            GROUPED.format("{0: 0, 1: [1, true]}", "{0: x, 1: y}"),
            "4:28: t.groupby.mapping",
            "the task has no class True",
        ),
        (GROUPED.format("{0: 0, 1: 1}", "{0: x, 1: y}"), "4:5: t.groupby.mapping", "class 2 (b) is in no group"),
        (
            "t:\n  id2label: {0: a, 1: b}\n  groupby: {mapping: {0: [0, 1]}}\n",
            "3:3: t.groupby.id2label",
            "must be given",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, text, place, message):
    with pytest.raises(DataError) as caught:
        tasks_of(tmp_path, text)
    assert any(
        line.startswith(f"{tmp_path / 'tasks.yaml'}:{place}: ") and message in line
        for line in str(caught.value).splitlines()
    ), str(caught.value)
    assert caught.value.option == "tasks"


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    with pytest.raises(DataError) as caught:
        tasks_of(tmp_path, "a: {id2label: {1: x, 99: y}}\nb: {id2label: {1: x, 98: y}}\nc: {id2label: {1: x}}\n")
    assert [line.split(":")[1] for line in str(caught.value).splitlines() if not line.startswith(" ")] == [
        "1",
        "2",
        "3",
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.yaml: cannot read this file"):
        read_tasks(tmp_path / "absent.yaml", LABELS)


GENUS = {
    "unlabeled": {0},
    "other coral": {3, 4, 6},
    "massive/meandering": {16, 17, 23},
    "branching": {19, 20, 22},
    "acropora": {25},
    "table acropora": {28, 32},
    "pocillopora": {31},
    "meandering": {33, 36, 37},
    "stylophora": {34},
}
HEALTH = {
    "unlabeled": {0},
    "alive": {6, 17, 22, 25, 28, 31, 34, 36},
    "bleached": {4, 16, 19, 33},
    "dead": {3, 20, 23, 32, 37},
}
PLAIN = {
    "fish": {9},
    "human_artifacts": {7, 8, 15},
    "substrate": {1, 5, 10, 12, 18},
    "background": {13, 14},
    "biota": {2, 11, 21, 24, 26, 27, 29, 30, 35, 38, 39},
}


def ids_by_group(task):
    return {
        name: {i for i, each in enumerate(task.class_of_id) if each != 255 and task.groups[each] == group}
        for group, name in enumerate(task.group_labels)
    }


def test_the_seven_tasks_of_coralscapes():
    labels = Labels(REEFS.count, REEFS.unlabeled, ignore_unlabeled=False)
    tasks = read_tasks(SHIPPED / "coralscapes_tasks.yaml", labels)
    assert list(tasks) == ["genus", "health", *PLAIN]
    for name, groups in (("genus", GENUS), ("health", HEALTH)):
        found = ids_by_group(tasks[name])
        listed = set.union(*groups.values())
        assert found.pop("unlabeled") == {0} | set(range(40)) - listed
        assert found == {group: ids for group, ids in groups.items() if group != "unlabeled"}
        assert tasks[name].size == 18
    for name, ids in PLAIN.items():
        assert {i for i, each in enumerate(tasks[name].class_of_id) if each > 0} == ids
        assert tasks[name].size == len(ids) + 1
        assert tasks[name].groups == ()
    assert {task.labels[0] for task in tasks.values()} == {"unlabeled"}


def test_the_names_of_coralscapes_are_those_of_the_data_set(shared_data):
    names = {
        number: name
        for name, number in json.loads((shared_data / "coralscapes_sample/classes.json").read_text()).items()
    }
    written = yaml.safe_load((SHIPPED / "coralscapes_tasks.yaml").read_text())
    for task in written.values():
        assert task["id2label"] == {number: {0: "unlabeled", **names}[number] for number in task["id2label"]}


def test_the_four_tasks_of_camvid():
    tasks = read_tasks(SHIPPED / "camvid_tasks.yaml", STREETS)
    sizes = {name: (task.size, len(task.group_labels)) for name, task in tasks.items()}
    assert sizes == {"layout": (6, 4), "furniture": (4, 0), "traffic": (4, 3), "role": (11, 4)}
    assert all(task.class_of_id[11] == 255 for task in tasks.values()), "void counts nowhere"
    shares = [{i for i in range(11) if task.class_of_id[i] > 0} for name, task in tasks.items() if name != "role"]
    assert sorted(i for share in shares for i in share) == list(range(11)), "three tasks share the classes out"
    assert tasks["role"].class_of_id[:11] == tuple(range(11))
