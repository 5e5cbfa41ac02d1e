import json
import math
from pathlib import Path

import pytest
import torch

from coral_mtl.errors import DataError, MissingExtraError
from coral_mtl.metrics import polygon_iou
from coral_mtl.metrics.polygon_iou import PolygonIoU

CASES = json.loads((Path(__file__).parents[1] / "reference" / "polygons.json").read_text())["cases"]
SQUARE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]], dtype=torch.float64)


def figures(prediction, target, mask=None):
    metric = PolygonIoU()
    metric.update(prediction, target, mask)
    return metric.compute()


@pytest.mark.parametrize("name", CASES)
def test_exact_overlap(name):
    prediction, target = (torch.tensor([CASES[name][key]], dtype=torch.float64) for key in ("pred", "target"))
    assert figures(prediction, target)["iou"] == pytest.approx(CASES[name]["iou"], abs=1e-12)


def test_shares_above_thresholds():
    metric = PolygonIoU()
    for width in (2.0, 1.6, 1.2, 0.4):  # IoU 1, .8, .6, .2
        metric.update((SQUARE * torch.tensor([width / 2, 1.0]))[None], SQUARE[None])
    assert metric.compute() == pytest.approx(
        {
            "iou": 0.65,
            "above_50": 0.75,
            "above_50_95": (10 + 7 + 3 + 0) / 40,
            "loss": sum(2 * (2.0 - width) ** 2 / (4 * 4) for width in (2.0, 1.6, 1.2, 0.4)) / 4,
        }
    )
    assert tuple(metric.compute()) == metric.names
    metric.reset()
    assert metric.count == 0
    assert all(math.isnan(value) for value in metric.compute().values())


def test_masked_vertices_are_left_out():
    prediction = torch.tensor([[[0.0, 0.0], [9.0, 9.0], [2.0, 0.0], [2.0, 2.0], [-5.0, 7.0], [0.0, 2.0]]])
    target = SQUARE[[0, 0, 1, 2, 0, 3]].float()[None]
    assert figures(prediction, target, torch.tensor([[2, 0, 1, 2, 0, 1]]))["iou"] == 1.0


def test_targets_without_an_area_are_left_out():
    targets = torch.stack([SQUARE, SQUARE * 0, SQUARE * torch.tensor([1.0, 0.0])])
    metric = PolygonIoU()
    metric.update(SQUARE.expand(3, 4, 2), targets)
    assert (metric.count, metric.compute()["iou"]) == (1, 1.0)
    metric.update(SQUARE[None], SQUARE[None], torch.tensor([[1, 1, 0, 0]]))
    assert metric.count == 1


def test_a_prediction_without_an_area_has_no_overlap():
    assert figures(SQUARE[None] * 0 + 1, SQUARE[None])["iou"] == 0.0


def test_a_diverged_prediction_shows():
    broken = SQUARE.clone()
    broken[2, 1] = float("inf")
    values = figures(torch.stack([SQUARE, broken]), SQUARE.expand(2, 4, 2))
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    ("prediction", "target"),
    [((1, 4, 2), (1, 5, 2)), ((1, 2, 2), (1, 2, 2)), ((4, 2), (4, 2))],
)
def test_shapes_that_do_not_fit(prediction, target):
    with pytest.raises(DataError, match="vertices of polygons"):
        PolygonIoU().update(torch.zeros(prediction), torch.zeros(target))
    with pytest.raises(DataError, match="finite targets"):
        PolygonIoU().update(SQUARE[None], SQUARE[None] * float("nan"))


def test_without_shapely_there_is_no_metric(monkeypatch):
    monkeypatch.setattr(polygon_iou, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"coral-mtl\[polygon\]"):
        PolygonIoU()
