"""What is said of tuned settings."""

import pytest

from coral_mtl.study.tune import at_edge

GRID = [
    ("seed=1", f"optimizer.params.lr={lr}", f"model.type={model}") for lr in ("1e-3", "3e-3", "1e-2") for model in "ab"
]


@pytest.mark.parametrize(("chosen", "edge"), [(0, True), (1, True), (2, False), (3, False), (4, True)])
def test_the_ends_of_the_numbers_that_were_tried_are_told(chosen, edge):
    assert at_edge(GRID, chosen) is edge


def test_fewer_than_three_values_have_no_edge():
    assert not at_edge([("optimizer.params.lr=1e-3",)], 0)
    assert not at_edge([("optimizer.params.lr=1e-3",), ("optimizer.params.lr=1e-2",)], 0)
