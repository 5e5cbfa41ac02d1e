import pytest

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError


@pytest.mark.parametrize(
    ("kind", "size", "problem"),
    [
        ("ranking", 3, "classification or regression"),
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
