"""Against the definitions written out, over all pairs of pixels."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import CoralError
from coral_mtl.evaluation.evaluate import evaluate
from coral_mtl.evaluation.images import EvaluatedImage, Segmented
from coral_mtl.evaluation.surface import beside
from coral_mtl.evaluation.surface.beside import SurfaceMetrics
from coral_mtl.evaluation.surface.distances import surface_distances
from coral_mtl.evaluation.surface.measure import Classes, measure
from coral_mtl.evaluation.surface.segments import Segments, panoptic_qualities, partition_figures
from coral_mtl.inference import WholeImage
from coral_mtl.metrics.segmentation.levels import levels_of


def patches(seed, classes=3, height=11, width=13):
    """Classes (H, W) in patches, with some elements that have no label."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, 4, 4, generator=generator)
    found = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").argmax(dim=1)[0].numpy()
    found = found.astype(np.int16)
    found[torch.rand(height, width, generator=generator).numpy() < 0.05] = -1
    return found


def surface_of(mask):
    """Pixels of a mask with one of the four neighbours outside it, or outside the image."""
    inside = set(zip(*np.nonzero(mask), strict=True))
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return [p for p in inside if any((p[0] + y, p[1] + x) not in inside for y, x in steps)]


@pytest.mark.parametrize("seed", range(6))
def test_distances_are_those_of_all_pairs_of_surface_pixels(seed):
    true, predicted = patches(seed) == 1, patches(seed + 100) == 1
    s, t = surface_of(true), surface_of(predicted)
    there = [min(math.dist(a, b) for b in t) for a in s]
    back = [min(math.dist(a, b) for a in s) for b in t]
    average, hausdorff = surface_distances(true, predicted)
    assert average == pytest.approx((sum(there) + sum(back)) / (len(there) + len(back)), abs=1e-12)
    assert hausdorff == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-12)
    assert surface_distances(true, true) == (0.0, 0.0)
    assert surface_distances(true, np.zeros_like(true)) is None


def test_distances_of_squares_that_moved():
    true, predicted = np.zeros((2, 30, 40), dtype=bool)
    true[5:6, 5:25] = True
    predicted[8:9, 5:25] = True
    assert surface_distances(true, predicted) == (3.0, 3.0)


def parts(classes):
    """Parts of one class that touch, corners included, by flooding."""
    left = {p: int(classes[p]) for p in zip(*np.nonzero(classes >= 0), strict=True)}
    found = []
    while left:
        start, own = next(iter(left.items()))
        part, edge = {start}, [start]
        del left[start]
        while edge:
            y, x = edge.pop()
            for near in itertools.product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                if left.get(near) == own:
                    del left[near]
                    part.add(near)
                    edge.append(near)
        found.append((own, part))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_panoptic_quality_is_its_definition(seed):
    true = patches(seed)
    predicted = np.where(true < 0, -1, np.where(patches(seed + 50) == 2, 2, np.maximum(true, 0)))
    found = panoptic_qualities(Segments.of(true), Segments.of(predicted), size=4)
    g, p = parts(true), parts(predicted)
    for own in range(3):
        mine, theirs = ([part for label, part in each if label == own] for each in (g, p))
        ious = [len(a & b) / len(a | b) for a in mine for b in theirs]
        matched = [iou for iou in ious if iou > 0.5]
        expected = sum(matched) / (len(matched) + (len(mine) + len(theirs) - 2 * len(matched)) / 2)
        assert found[own] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found[3])


def test_segments_that_overlap_by_half_do_not_match():
    true, predicted = Segments.of(np.array([[1, 1]])), Segments.of(np.array([[1, 0]]))
    assert panoptic_qualities(true, predicted, size=2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(4))
def test_partitions_are_compared_by_their_definitions(seed):
    true = patches(seed)
    predicted = np.where(true < 0, -1, np.maximum(patches(seed + 50), 0))
    numbers = [
        {pixel: number for number, (_, part) in enumerate(parts(each)) for pixel in part} for each in (true, predicted)
    ]
    pairs = [(numbers[0][pixel], numbers[1][pixel]) for pixel in numbers[0]]
    n = len(pairs)
    joint, rows, columns = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    vi = -sum(c / n * (math.log2(c / rows[a]) + math.log2(c / columns[b])) for (a, b), c in joint.items())
    both, first, second = (sum(math.comb(c, 2) for c in each.values()) for each in (joint, rows, columns))
    chance = first * second / math.comb(n, 2)
    ari = (both - chance) / ((first + second) / 2 - chance)
    found = partition_figures(Segments.of(true), Segments.of(predicted))
    assert found["VI"] == pytest.approx(vi, abs=1e-9)
    assert found["ARI"] == pytest.approx(ari, abs=1e-12)


LABELS = ("unlabeled", "a", "b", "c")
NAMED = (False, True, True, True)


def test_an_image_has_the_means_over_its_classes():
    true = np.array([[1, 1, 2, 0]] * 4)
    predicted = np.array([[1, 1, 0, 3]] * 4)
    found = measure({"t": Classes(true, predicted, LABELS, NAMED)})["t"]
    assert list(found["classes"]) == ["a", "b", "c"]
    assert found["classes"]["a"] == {"ASSD": 0.0, "HD95": 0.0, "PQ": 1.0}
    assert found["classes"]["b"]["PQ"] == found["classes"]["c"]["PQ"] == 0.0
    assert math.isnan(found["classes"]["b"]["ASSD"])
    assert found["ASSD"] == found["HD95"] == 0.0
    assert found["PQ"] == pytest.approx(1 / 3)


def test_an_image_without_labels_has_no_figures():
    nothing = np.full((4, 4), -1)
    found = measure({"t": Classes(nothing, np.zeros((4, 4), dtype=int), LABELS, NAMED)})["t"]
    assert found.pop("classes") == {}
    assert all(math.isnan(value) for value in found.values())


def test_a_perfect_prediction():
    true = patches(1)
    found = measure({"t": Classes(true, np.maximum(true, 0), LABELS, NAMED)})["t"]
    assert {name: value for name, value in found.items() if name != "classes"} == {
        "ASSD": 0.0, "HD95": 0.0, "PQ": 1.0, "ARI": 1.0, "VI": 0.0,
    }  # fmt: skip


LEVEL = levels_of(TaskSpec("segmentation", 4, labels=LABELS))[0]


def image(index, true, predicted):
    return EvaluatedImage(
        index, f"image {index}", torch.zeros(3, 1, 1), {"t": {"grouped": Segmented(LEVEL, true, predicted)}}
    )


@pytest.mark.slow
def test_processes_write_in_order_what_one_would_have_measured(tmp_path):
    shown = [(patches(seed), np.maximum(patches(seed + 9), 0)) for seed in range(7)]
    with (tmp_path / "surface.jsonl").open("w") as file, SurfaceMetrics(file, "r", workers=2) as metrics:
        for index, (true, predicted) in enumerate(shown):
            metrics.add(image(index, true, predicted))
            assert len(metrics._waiting) <= 4
        averages = metrics.averages()
    lines = [json.loads(line) for line in (tmp_path / "surface.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(7))
    alone = [measure({"t": Classes(*each, LABELS, NAMED)})["t"] for each in shown]
    for line, expected in zip(lines, alone, strict=True):
        for name in ("ASSD", "HD95", "PQ", "ARI", "VI"):
            assert line["tasks"]["t"][name] == pytest.approx(expected[name], abs=1e-12)
    for name in ("ASSD", "PQ", "VI"):
        assert averages["t"][name] == pytest.approx(np.mean([each[name] for each in alone]), abs=1e-12)
    a = [each["classes"]["a"] for each in alone if "a" in each["classes"]]
    assert averages["t"]["classes"]["a"]["images"] == len(a)
    assert averages["t"]["classes"]["a"]["PQ"] == pytest.approx(np.mean([each["PQ"] for each in a]))
    assert averages["t"]["classes"]["a"]["one_sided"] == sum(math.isnan(each["ASSD"]) for each in a)


def killed(tasks):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "measure", killed)
    nothing = np.zeros((2, 2), dtype=np.int16)
    with (tmp_path / "surface.jsonl").open("w") as file, SurfaceMetrics(file, "r", workers=1) as metrics:
        metrics.add(image(0, nothing, nothing))
        with pytest.raises(CoralError, match="measured image 0 was killed"):
            metrics.averages()


def test_an_evaluation_can_have_them(run):
    found = evaluate(run, inference=WholeImage(), overlays=0, surface=True, workers=1)
    lines = [json.loads(line) for line in (found.folder / "surface.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(5))
    assert {line["run"] for line in lines} == {found.report["run"]["id"]}
    values = [line["tasks"]["layout"]["VI"] for line in lines]
    assert found.report["surface"]["layout"]["VI"] == pytest.approx(np.mean(values))
    assert set(found.report["surface"]["layout"]["classes"]) <= {"sky", "solid"}, "groups, without the rest"
