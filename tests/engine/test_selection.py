import math

import pytest

from coral_mtl.engine.selection import ModelSelection


def outcomes(values, **options):
    selection = ModelSelection(**options)
    found = []
    for value in values:
        found.append((selection.update(value), selection.exhausted))
    return found, selection


def test_the_best_is_the_largest_or_the_smallest():
    found, selection = outcomes([1.0, 3.0, 2.0, 3.0, 4.0], mode="max")
    assert [best for best, _ in found] == [True, True, False, False, True]
    assert selection.best == 4.0
    found, selection = outcomes([1.0, 3.0, 0.5, 0.5], mode="min")
    assert [best for best, _ in found] == [True, False, True, False]
    assert selection.best == 0.5


def test_patience_counts_validations_since_the_last_progress():
    found, _ = outcomes([1.0, 0.9, 1.1, 1.0, 1.0, 1.2], mode="max", patience=2)
    assert [exhausted for _, exhausted in found] == [False, False, False, False, True, False]


def test_small_gains_make_a_best_epoch_but_no_progress_until_they_add_up():
    found, _ = outcomes([1.0, 1.04, 1.08, 1.12, 1.16], mode="max", patience=3, min_delta=0.1)
    assert [best for best, _ in found] == [True] * 5
    assert not any(exhausted for _, exhausted in found), "1.12 is more than 0.1 above 1.0"
    found, _ = outcomes([1.0, 1.03, 1.06, 1.09], mode="max", patience=3, min_delta=0.1)
    assert found[-1] == (True, True)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_is_never_the_best_and_uses_up_patience(mode):
    found, selection = outcomes([math.nan, 1.0, math.nan, math.nan], mode=mode, patience=2)
    assert found == [(False, False), (True, False), (False, False), (False, True)]
    assert selection.best == 1.0


def test_state_goes_on_where_it_was():
    values = [0.3, 0.2, 0.25, 0.1, 0.05]
    whole, _ = outcomes(values, mode="max", patience=4)
    _, first = outcomes(values[:2], mode="max", patience=4)
    second = ModelSelection(mode="max", patience=4)
    second.load_state_dict(first.state_dict())
    assert [(second.update(value), second.exhausted) for value in values[2:]] == whole[2:]
