"""Boundary IoU and F1 by distance transforms, class by class, as a second route."""

import math

import numpy as np
import pytest
import torch
from random_masks import TASKS, batch
from scipy.ndimage import distance_transform_cdt

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.metrics import MetricSet
from coral_mtl.metrics.segmentation.boundaries import BoundaryCounts, boundary_band, thickness, window_maximum


def near(mask, distance):
    """Elements within a chessboard distance of a mask's."""
    return distance_transform_cdt(~mask, metric="chessboard") <= distance if mask.any() else np.zeros_like(mask)


def band(labels, own, distance):
    """Elements of one class within a distance of a labelled element of another, or of the image's outside."""
    others = np.pad((labels >= 0) & (labels != own), 1, constant_values=True)
    return (labels == own) & near(others, distance)[1:-1, 1:-1]


def by_definition(pairs, size, share):
    """Boundary IoUs and F1s of the classes over pairs of (true, predicted) images."""
    counts = np.zeros((size, 6))
    for true, everywhere in pairs:
        predicted = np.where(true < 0, -1, everywhere)
        d = max(1, round(share * math.hypot(*true.shape)))
        for own in range(size):
            g_d, p_d = band(true, own, d), band(predicted, own, d)
            g_1, p_1 = band(true, own, 1), band(predicted, own, 1)
            counts[own] += [
                (g_d & p_d).sum(), (g_d | p_d).sum(), (p_1 & near(g_1, d)).sum(), p_1.sum(),
                (g_1 & near(p_1, d)).sum(), g_1.sum(),
            ]  # fmt: skip
    with np.errstate(invalid="ignore"):
        precision, recall = counts[:, 2] / counts[:, 3], counts[:, 4] / counts[:, 5]
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))  # 0 where one of the two has no contour
        return counts[:, 0] / counts[:, 1], np.where(counts[:, 3] + counts[:, 5] > 0, f1, np.nan)


@pytest.mark.parametrize("share", [0.02, 0.06, 0.15, 0.9])
@pytest.mark.parametrize("task", list(TASKS))
def test_both_figures_are_those_of_distances(task, share):
    spec = TASKS[task]
    metrics = MetricSet({task: spec}, boundary_thickness=share)
    pairs = []
    for seed, sides in ((1, (23, 31)), (2, (40, 17))):
        logits, targets = batch(seed, height=sides[0], width=sides[1])
        metrics.update(logits, targets)
        true = targets[task].masked_fill(targets[task] == spec.ignore_index, -1)
        pairs += list(zip(true.numpy(), logits[task].argmax(dim=1).numpy(), strict=True))
    ious, f1s = by_definition(pairs, spec.size, share)
    level = metrics.by_task[task].levels["ungrouped" if spec.groups else "grouped"]
    np.testing.assert_allclose(level.by_class()["boundary_IoU"], ious, atol=1e-12)
    np.testing.assert_allclose(level.by_class()["boundary_F1"], f1s, atol=1e-12)
    counted = np.array(level.level.counted)
    assert level.compute()["boundary_IoU"] == pytest.approx(np.nanmean(ious[counted]), abs=1e-12)
    assert level.compute()["boundary_F1"] == pytest.approx(np.nanmean(f1s[counted]), abs=1e-12)


def test_the_window_maximum_is_max_pooling():
    values = torch.randint(-99, 99, (2, 13, 9), generator=torch.Generator().manual_seed(0)).short()
    for radius in (1, 2, 3, 4, 11, 30):
        padded = torch.nn.functional.pad(values.double(), (radius,) * 4, value=-torch.inf)
        pooled = torch.nn.functional.max_pool2d(padded[None], 2 * radius + 1, stride=1)[0]
        assert torch.equal(window_maximum(values, radius).double(), pooled)


def test_elements_without_a_label_make_no_contour():
    labels = torch.ones(1, 9, 9, dtype=torch.short)
    labels[0, 4, 4] = -1
    expected = torch.ones(9, 9, dtype=torch.bool)
    expected[1:-1, 1:-1] = False
    assert torch.equal(boundary_band(labels, 1)[0], expected)


def test_a_square_moved_by_one_pixel():
    """Class 1 is a 6 x 6 square; moved to the right by one, its bands of width 1 (20 elements) share two rows of 5."""
    true = torch.zeros(1, 20, 20).long()
    predicted = true.clone()
    true[0, 5:11, 5:11] = 1
    predicted[0, 5:11, 6:12] = 1
    counts = BoundaryCounts(2)
    counts.update(true, predicted, 0.0)
    assert counts.ious()[1] == pytest.approx(10 / 30)
    assert counts.f1s()[1] == 1.0, "every element of a contour has one of the other next to it"


def test_a_class_on_one_side_only_has_zero_and_on_neither_nan():
    counts = BoundaryCounts(3)
    true = torch.zeros(1, 8, 8).long()
    predicted = true.clone()
    predicted[0, 2:4, 2:4] = 1
    counts.update(true, predicted, 0.0)
    assert counts.ious()[1] == counts.f1s()[1] == 0.0
    assert np.isnan(counts.ious()[2])
    assert np.isnan(counts.f1s()[2])


def test_the_thickness_is_a_share_of_the_diagonal():
    assert thickness(0.02, 480, 640) == 16
    assert thickness(0.005, 1024, 2048) == 11
    assert thickness(0.02, 8, 8) == 1


def test_a_perfect_prediction_has_one():
    logits, targets = batch(5)
    targets = {task: logits[task].argmax(dim=1) for task in targets}
    tasks = {task: TaskSpec("segmentation", spec.size) for task, spec in TASKS.items()}
    metrics = MetricSet(tasks)
    metrics.update(logits, targets)
    figures = metrics.compute()
    for name in ("mIoU", "mDice", "pixel_accuracy", "boundary_IoU", "boundary_F1", "H-Mean"):
        assert figures[f"global.{name}"] == 1.0
