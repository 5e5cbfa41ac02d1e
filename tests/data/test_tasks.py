import pytest

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError


@pytest.mark.parametrize(
    ("kind", "size", "problem"),
    [
        ("ranking", 3, "classification, regression, segmentation, polygon or judgement, not .ranking"),
        ("classification", 1, "size 2 or more, not 1"),
        ("regression", 0, "size 1 or more, not 0"),
    ],
)
def test_refuses_what_is_no_task(kind, size, problem):
    with pytest.raises(DataError, match=problem):
        TaskSpec(kind, size)


def test_smallest_tasks():
    assert TaskSpec("classification", 2).ignore_index == -100
    assert TaskSpec("regression", 1).size == 1


GROUPED = {"labels": ("rest", "a", "b"), "groups": (0, 1, 1), "group_labels": ("rest", "letter")}


def test_a_task_with_groups():
    task = TaskSpec("segmentation", 3, 255, **GROUPED, class_of_id=(255, 1, 2, 0))
    assert task.group_labels[task.groups[2]] == "letter"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": ("rest", "a")}, "3 classes has as many labels, not 2"),
        ({"groups": (0, 1)}, "3 classes has as many groups, not 2"),
        ({"groups": (0, 0, 0)}, r"groups \[0\] are not those of 2 group_labels"),
        ({"groups": (0, 1, 2)}, r"groups \[0, 1, 2\] are not those of 2 group_labels"),
        ({"groups": ()}, r"groups \[\] are not those of 2 group_labels"),
        ({"class_of_id": (0, 1, 3)}, "classes from 0 to 2 and 255 alone"),
    ],
)
def test_refuses_classes_and_groups_that_do_not_fit(changes, problem):
    with pytest.raises(DataError, match=problem):
        TaskSpec("segmentation", 3, 255, **(GROUPED | changes))


def test_a_regression_has_no_classes():
    with pytest.raises(DataError, match="no classes"):
        TaskSpec("regression", 1, labels=("one",))
