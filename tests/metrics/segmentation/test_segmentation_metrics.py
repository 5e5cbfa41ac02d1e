"""Against scikit-learn's confusion matrix, torchmetrics, and the definitions written out."""

import math

import numpy as np
import pytest
import torch
from random_masks import COVER, FISH, GENUS, IGNORED, TASKS, batch
from sklearn.metrics import confusion_matrix, log_loss
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.metrics import MetricSet

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def streamed():
    metrics = MetricSet(TASKS)
    for seed in SEEDS:
        metrics.update(*batch(seed))
    return metrics


def at_level(task, level):
    """All probabilities (n, C) and labels (n,) of the labelled elements, grouped by plain sums."""
    spec = TASKS[task]
    probabilities, labels = [], []
    for seed in SEEDS:
        logits, targets = batch(seed)
        p = torch.softmax(logits[task], dim=1).movedim(1, -1)[targets[task] != spec.ignore_index]
        y = targets[task][targets[task] != spec.ignore_index]
        if level == "grouped" and spec.groups:
            groups = torch.tensor(spec.groups)
            p, y = torch.stack([p[:, groups == g].sum(dim=1) for g in range(max(groups) + 1)], dim=1), groups[y]
        probabilities.append(p)
        labels.append(y)
    return torch.cat(probabilities), torch.cat(labels)


LEVELS = [("genus", "grouped"), ("genus", "ungrouped"), ("fish", "grouped"), ("cover", "grouped")]


@pytest.mark.parametrize(("task", "level"), LEVELS)
def test_the_confusion_matrix_is_that_of_scikit_learn(streamed, task, level):
    p, y = at_level(task, level)
    expected = confusion_matrix(y, p.argmax(dim=1), labels=range(p.shape[1]))
    found = streamed.by_task[task].levels[level]
    assert found.confusion.dtype == np.int64
    np.testing.assert_array_equal(found.confusion, expected)
    hits = expected.diagonal()
    counted = np.arange(p.shape[1]) != TASKS[task].ignore_index
    either = expected.sum(axis=0) + expected.sum(axis=1)
    figures = streamed.compute()
    wanted = {
        "mIoU": (hits / (either - hits))[counted].mean(),
        "mDice": (2 * hits / either)[counted].mean(),
        "pixel_accuracy": hits.sum() / expected.sum(),
    }
    for name, value in wanted.items():
        assert figures[f"tasks.{task}.{level}.{name}"] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("task", "level"), LEVELS)
def test_the_figures_are_those_of_torchmetrics(streamed, task, level):
    p, y = at_level(task, level)
    size, ignored = p.shape[1], {"ignore_index": 0} if task == "cover" else {}
    peers = {
        "mIoU": MulticlassJaccardIndex(size, average="macro", **ignored),
        "pixel_accuracy": MulticlassAccuracy(size, average="micro"),
        "ECE": MulticlassCalibrationError(size, n_bins=15, norm="l1"),
    }
    peers |= {} if ignored else {"mDice": MulticlassF1Score(size, average="macro")}
    figures = streamed.compute()
    for name, peer in peers.items():
        assert figures[f"tasks.{task}.{level}.{name}"] == pytest.approx(float(peer(p, y)), abs=1e-6)


@pytest.mark.parametrize(("task", "level"), LEVELS)
def test_the_likelihood_and_the_brier_score_are_their_definitions(streamed, task, level):
    p, y = (values.numpy() for values in at_level(task, level))
    figures = streamed.compute()
    nll = log_loss(y, p, labels=range(p.shape[1]))
    assert figures[f"tasks.{task}.{level}.NLL"] == pytest.approx(nll, abs=1e-12)
    brier = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean()
    assert figures[f"tasks.{task}.{level}.Brier"] == pytest.approx(brier, abs=1e-12)
    if level == "ungrouped" or not TASKS[task].groups:
        assert figures[f"tasks.{task}.loss"] == pytest.approx(nll, abs=1e-12)


def test_the_global_figures_are_over_the_union_of_the_grouped_classes(streamed):
    figures = streamed.compute()
    ious, right, labelled, nll, bins = [], 0, 0, 0.0, np.zeros(15)
    for task in TASKS:
        p, y = at_level(task, "grouped")
        matrix = confusion_matrix(y, p.argmax(dim=1), labels=range(p.shape[1]))
        hits = matrix.diagonal()
        ious += list((hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits))[1:])  # class 0: unlabeled, or ignored
        right, labelled = right + hits.sum(), labelled + len(y)
        nll += log_loss(y, p, labels=range(p.shape[1])) * len(y)
        confidence, hit = p.max(dim=1).values.numpy(), (p.argmax(dim=1) == y).numpy()
        place = np.minimum((confidence * 15).astype(int), 14)
        bins += np.bincount(place, hit - confidence, minlength=15)
    assert len(ious) == 2 + 1 + 3
    assert figures["global.mIoU"] == pytest.approx(np.mean(ious), abs=1e-12)
    assert figures["global.pixel_accuracy"] == pytest.approx(right / labelled, abs=1e-12)
    assert figures["global.NLL"] == pytest.approx(nll / labelled, abs=1e-12)
    assert figures["global.ECE"] == pytest.approx(np.abs(bins).sum() / labelled, abs=1e-12)
    own = [figures[f"tasks.{task}.grouped.mIoU"] for task in TASKS]
    assert figures["global.H-Mean"] == pytest.approx(3 / sum(1 / value for value in own), abs=1e-12)
    assert figures["global.score"] == pytest.approx(np.mean(own), abs=1e-12)
    assert figures["global.loss"] == pytest.approx(sum(figures[f"tasks.{task}.loss"] for task in TASKS), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        ({}, [0, 1, 2]),
        ({"labels": ("unlabeled", "a", "b")}, [1, 2]),
        ({"class_of_id": (1, 0, 2, 0)}, [1, 2]),  # class 0 takes two ids: what no other class names
        ({"class_of_id": (1, 0, 2, -100)}, [0, 1, 2]),
        ({"class_of_id": (1, 0, 2, 0), "groups": (0, 1, 1), "group_labels": ("rest", "both")}, [1]),
        ({"class_of_id": (1, 0, 2, 0), "groups": (0, 1, 0), "group_labels": ("rest and b", "a")}, [1]),
        ({"ignore_index": 2}, [0, 1]),
    ],
)
def test_what_a_task_leaves_over_is_in_its_own_mean_and_not_in_the_union(options, counted):
    figures = one_image([[0, 1, 1, 2, 2, 0]], [[0, 0, 1, 2, 1, 0]], TaskSpec("segmentation", 3, **options))
    groups = np.array(options.get("groups", (0, 1, 2)))
    true, predicted = groups[[0, 0, 1, 2, 1, 0]], groups[[0, 1, 1, 2, 2, 0]]
    if options.get("ignore_index") == 2:
        true, predicted = np.delete(true, 3), np.delete(predicted, 3)

    def mean(classes):
        each = [((true == c) & (predicted == c)).sum() / ((true == c) | (predicted == c)).sum() for c in classes]
        return pytest.approx(np.mean(each))

    assert figures["global.mIoU"] == mean(counted)
    assert figures["tasks.t.grouped.mIoU"] == mean([c for c in set(groups) if c != options.get("ignore_index")])


def test_one_labelled_pixel_that_is_predicted_as_no_number_leaves_no_figure_of_its_task_and_no_global_one():
    metrics = MetricSet(TASKS)
    logits, targets = batch(1)
    [place] = (targets["genus"] != IGNORED).nonzero()[:1].tolist()
    logits["genus"][place[0], :, place[1], place[2]] = math.nan
    metrics.update(logits, targets)
    metrics.update(*batch(2))
    undefined = {name for name, figure in metrics.compute().items() if math.isnan(figure)}
    assert undefined == {name for name in metrics.names if name.startswith(("tasks.genus.", "global."))}
    for level in metrics.by_task["genus"].levels.values():
        assert all(np.isnan(figures).all() for figures in level.by_class().values())


def test_what_is_predicted_at_pixels_without_a_label_is_of_no_interest():
    metrics, other = MetricSet(TASKS), MetricSet(TASKS)
    logits, targets = batch(1)
    other.update(logits, targets)
    for task, spec in TASKS.items():
        logits[task].movedim(1, -1)[targets[task] == spec.ignore_index] = math.nan
    metrics.update(logits, targets)
    assert metrics.compute() == other.compute()


def test_names_are_known_before_there_are_data(streamed):
    assert set(streamed.compute()) == set(streamed.names)
    assert {"global.mIoU", "global.H-Mean", "tasks.genus.grouped.mIoU", "tasks.genus.ungrouped.boundary_F1"} < set(
        streamed.names
    )
    assert not any(name.startswith("tasks.fish.ungrouped") for name in streamed.names)


def test_batches_of_any_size_give_the_same(streamed):
    whole = MetricSet(TASKS)
    parts = [batch(seed) for seed in SEEDS]
    logits, targets = (
        {task: torch.cat([part[side][task] for part in parts]) for task in TASKS} for side in (0, 1)
    )  # fmt: skip
    whole.update(logits, targets)
    for name, value in streamed.compute().items():
        assert whole.compute()[name] == pytest.approx(value, abs=1e-12), name


def test_reset_forgets_everything():
    metrics = MetricSet(TASKS)
    metrics.update(*batch(1))
    first = metrics.compute()
    metrics.reset()
    assert all(math.isnan(value) for value in metrics.compute().values())
    metrics.update(*batch(1))
    assert metrics.compute() == first


def one_image(prediction, target, spec):
    """The figures of one image whose most probable classes are given."""
    metrics = MetricSet({"t": spec})
    prediction = torch.tensor(prediction)[None]
    logits = 50.0 * torch.nn.functional.one_hot(prediction, spec.size).movedim(-1, 1).double()
    metrics.update({"t": logits}, {"t": torch.tensor(target)[None]})
    return metrics.compute()


def test_a_class_that_is_nowhere_is_left_out_of_the_means():
    figures = one_image([[0, 0, 1, 1]], [[0, 1, 1, 1]], TaskSpec("segmentation", 4))
    assert figures["tasks.t.grouped.mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert figures["tasks.t.grouped.mDice"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    only_predicted = one_image([[0, 0, 2, 1]], [[0, 0, 1, 1]], TaskSpec("segmentation", 4))
    assert only_predicted["tasks.t.grouped.mIoU"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_a_prediction_of_the_ignored_class_is_wrong_but_that_class_is_in_no_mean():
    figures = one_image([[0, 1, 2, 2]], [[1, 1, 2, 0]], TaskSpec("segmentation", 3, ignore_index=0))
    assert figures["tasks.t.grouped.mIoU"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["tasks.t.grouped.pixel_accuracy"] == pytest.approx(2 / 3)


def test_a_group_with_a_labelled_class_counts_and_one_of_the_ignored_class_alone_does_not():
    def miou(groups):
        spec = TaskSpec("segmentation", 3, ignore_index=0, groups=groups, group_labels=("a", "b"))
        return one_image([[0, 1, 2, 2]], [[1, 1, 2, 2]], spec)["tasks.t.grouped.mIoU"]

    assert miou((0, 1, 1)) == pytest.approx(3 / 4), "group a is the ignored class"
    assert miou((0, 0, 1)) == pytest.approx(1.0), "classes 0 and 1 are one group"


def test_grouped_predictions_add_up_probabilities():
    """Two classes of one group with 0.3 each beat the single class with 0.4."""
    spec = TaskSpec("segmentation", 3, groups=(0, 0, 1), group_labels=("a", "b"))
    metrics = MetricSet({"t": spec})
    metrics.update({"t": torch.tensor([0.3, 0.3, 0.4]).log().view(1, 3, 1, 1)}, {"t": torch.zeros(1, 1, 1).long()})
    figures = metrics.compute()
    assert figures["tasks.t.grouped.pixel_accuracy"] == 1.0
    assert figures["tasks.t.ungrouped.pixel_accuracy"] == 0.0
    assert figures["tasks.t.grouped.NLL"] == pytest.approx(-math.log(0.6), abs=1e-6)


def test_probabilities_too_small_for_float32_keep_a_finite_likelihood():
    spec = TaskSpec("segmentation", 3, groups=(0, 0, 1), group_labels=("a", "b"))
    metrics = MetricSet({"t": spec})
    metrics.update({"t": torch.tensor([0.0, 0.0, 500.0]).view(1, 3, 1, 1)}, {"t": torch.zeros(1, 1, 1).long()})
    assert metrics.compute()["tasks.t.grouped.NLL"] == pytest.approx(500 - math.log(2), rel=1e-6)


def test_the_harmonic_mean_is_of_the_primary_tasks_and_zero_with_one_of_them():
    metrics = MetricSet(TASKS, primary_tasks=["genus", "fish"])
    logits, targets = batch(1)
    metrics.update(logits, targets)
    figures = metrics.compute()
    a, b = figures["tasks.genus.grouped.mIoU"], figures["tasks.fish.grouped.mIoU"]
    assert figures["global.H-Mean"] == pytest.approx(2 * a * b / (a + b), abs=1e-12)
    metrics.reset()
    metrics.update(logits | {"fish": -1e3 * torch.eye(2)[targets["fish"].clamp(max=1)].movedim(-1, 1)}, targets)
    assert metrics.compute()["tasks.fish.grouped.mIoU"] == 0.0
    assert metrics.compute()["global.H-Mean"] == 0.0


@pytest.mark.parametrize("primary", [["coral"], ["fish", "fish"], [], ["depth"]])
def test_primary_tasks_are_different_segmentation_tasks(primary):
    with pytest.raises(ConfigError, match="genus, fish, cover") as raised:
        MetricSet(TASKS | {"depth": TaskSpec("regression", 1)}, primary_tasks=primary)
    assert raised.value.option == "primary_tasks"


def test_options_have_no_effect_without_a_segmentation():
    assert MetricSet(TASKS).unused_options() == {}
    assert set(MetricSet({"x": TaskSpec("regression", 1)}).unused_options()) == {
        "primary_tasks", "boundary_thickness", "calibration_bins",
    }  # fmt: skip


def test_kinds_mix_and_a_task_without_labels_is_left_out():
    tasks = {"fish": FISH, "genus": GENUS, "site": TaskSpec("classification", 3)}
    metrics = MetricSet(tasks)
    logits, targets = batch(1)
    targets = {
        "fish": targets["fish"],
        "genus": torch.full_like(targets["genus"], IGNORED),
        "site": torch.tensor([0, 1]),
    }
    metrics.update(logits | {"site": torch.eye(3)[:2]}, targets)
    figures = metrics.compute()
    assert figures["tasks.site.accuracy"] == 1.0
    assert all(math.isnan(v) for name, v in figures.items() if name.startswith("tasks.genus"))
    assert figures["global.score"] == pytest.approx((1.0 + figures["tasks.fish.grouped.mIoU"]) / 2)
    assert figures["global.H-Mean"] == pytest.approx(figures["tasks.fish.grouped.mIoU"])
    assert figures["global.pixel_accuracy"] == figures["tasks.fish.grouped.pixel_accuracy"]
    assert "global.mIoU" not in MetricSet({"site": tasks["site"]}).names


def test_a_diverged_prediction_shows():
    metrics = MetricSet({"cover": COVER})
    logits, targets = batch(1)
    metrics.update({"cover": logits["cover"] * torch.nan}, targets)
    figures = metrics.compute()
    for name in ("NLL", "Brier", "ECE"):
        assert math.isnan(figures[f"tasks.cover.grouped.{name}"])
    assert math.isnan(figures["global.loss"])


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5).long(), "do not fit"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long(), "do not fit"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), 7), "has the class 7"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), -100), "has the class -100"),
    ],
)
def test_what_does_not_fit_is_refused(logits, target, message):
    with pytest.raises(DataError, match=message):
        MetricSet({"fish": FISH}).update({"fish": logits}, {"fish": target})


def test_half_precision_is_computed_in_float32():
    logits, targets = batch(1)
    figures = []
    for dtype in (torch.bfloat16, torch.float32):
        metrics = MetricSet(TASKS)
        metrics.update({task: z.bfloat16().to(dtype) for task, z in logits.items()}, targets)
        figures.append(metrics.compute())
    assert figures[0] == figures[1]


def test_targets_of_bytes_are_the_same():
    logits, targets = batch(1)
    figures = []
    for dtype in (torch.uint8, torch.int64):
        metrics = MetricSet(TASKS)
        metrics.update(logits, {task: target.to(dtype) for task, target in targets.items()})
        figures.append(metrics.compute())
    assert figures[0] == figures[1]
