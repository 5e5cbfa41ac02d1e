import sys

import numpy as np
import pytest
import torch

from coral_mtl import registry
from coral_mtl.data.overlapping_digits import OverlappingDigits
from coral_mtl.errors import ConfigError, MissingExtraError

load_digits = pytest.importorskip("sklearn.datasets").load_digits


@pytest.fixture(scope="module")
def digits():
    return OverlappingDigits(train_size=300, validation_size=100)


def scans_of(part):
    return {scan.tobytes() for scan in part.scans.images}


def test_items_have_the_shapes_that_were_announced(digits):
    assert (len(digits.train), len(digits.validation)) == (300, 100)
    assert digits.input_shape == (1, 10, 12)
    assert digits.tasks == registry.data.get("overlapping_digits").task_specs(train_size=3)
    for part in (digits.train, digits.validation):
        inputs, targets = part[7]
        assert inputs.shape == digits.input_shape
        assert inputs.dtype == torch.float32
        assert 0.0 <= inputs.min() < 0.1
        assert 0.5 < inputs.max() <= 1.0
        assert {name: (target.shape, target.dtype) for name, target in targets.items()} == {
            "left": ((), torch.int64),
            "right": ((), torch.int64),
            "ink": ((1,), torch.float32),
        }


def test_no_scan_of_validation_is_trained_on(digits):
    train, validation = scans_of(digits.train), scans_of(digits.validation)
    assert not train & validation
    original = {(scan / 16).astype(np.float32).tobytes() for scan in load_digits().images}
    assert train | validation == original
    assert len(validation) == pytest.approx(0.2 * len(original), abs=1)


@pytest.mark.parametrize(("overlap", "jitter"), [(0, 0), (4, 2), (6, 5)])
def test_each_item_is_the_maximum_of_its_two_shifted_scans(overlap, jitter):
    digits = OverlappingDigits(train_size=20, overlap=overlap, jitter=jitter)
    scans = digits.train.scans
    height, width = 8 + jitter, 16 - overlap
    for index in range(20):
        (left, right), (left_row, right_row) = digits.train.pairs[index], digits.train.rows[index]
        canvas, targets = digits.train[index]
        for row in range(height):
            for column in range(width):
                expected = 0.0
                if column < 8 and 0 <= row - left_row < 8:
                    expected = max(expected, scans.images[left][row - left_row, column])
                if column >= width - 8 and 0 <= row - right_row < 8:
                    expected = max(expected, scans.images[right][row - right_row, column - (width - 8)])
                assert canvas[0, row, column] == expected
        assert (targets["left"], targets["right"]) == (scans.labels[left], scans.labels[right])


def test_ink_is_the_mass_of_both_scans_less_the_mean(digits):
    scans = digits.train.scans
    mean = 2 * np.mean([scan.sum(dtype=np.float64) for scan in scans.images])
    for index in range(50):
        left, right = digits.train.pairs[index]
        expected = scans.images[left].sum(dtype=np.float64) + scans.images[right].sum(dtype=np.float64) - mean
        assert digits.train[index][1]["ink"].item() == pytest.approx(expected, abs=1e-4)


def test_ink_grows_with_its_scale(digits):
    tenfold = OverlappingDigits(train_size=300, ink_scale=10.0)
    for index in range(20):
        assert torch.allclose(tenfold.train[index][1]["ink"], 10 * digits.train[index][1]["ink"])
    ink = torch.cat([digits.train[index][1]["ink"] for index in range(300)])
    assert abs(ink.mean()) < 0.6  # standard error of 300 draws: about 0.18
    assert 2.5 < ink.std() < 3.6


def test_items_depend_on_seed_part_and_index_alone(digits):
    longer = OverlappingDigits(train_size=700, validation_size=701)
    for part, same in ((digits.train, longer.train), (digits.validation, longer.validation)):
        for index in (0, 2, 99):
            assert torch.equal(part[index][0], same[index][0])
            assert part[index][1] == same[index][1]
    other = OverlappingDigits(seed=1)
    pairs = [part.pairs[:50].tobytes() for part in (digits.train, digits.validation, other.train, other.validation)]
    rows = [part.rows[:50].tobytes() for part in (digits.train, digits.validation, other.train, other.validation)]
    assert len(set(pairs)) == len(set(rows)) == 4
    assert scans_of(other.validation) != scans_of(digits.validation)


def test_every_digit_and_row_comes_up(digits):
    assert set(digits.train.rows.flatten()) == {0, 1, 2}
    for side in ("left", "right"):
        assert {int(digits.train[index][1][side]) for index in range(300)} == set(range(10))


@pytest.mark.parametrize("index", [-1, 100, 1000])
def test_there_is_no_item_beyond_the_size(digits, index):
    with pytest.raises(IndexError):
        digits.validation[index]


@pytest.mark.parametrize(
    "options", [{"overlap": 7}, {"overlap": -1}, {"train_size": 0}, {"ink_scale": 0.0}, {"jitter": -1}, {"seed": -1}]
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        OverlappingDigits(**options)


def test_scikit_learn_is_missed_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'coral-mtl\[digits\]'"):
        OverlappingDigits()
    assert set(OverlappingDigits.task_specs()) == {"left", "right", "ink"}
