import math

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.metrics import MetricSet
from coral_mtl.metrics.judgements import JudgementMetrics


def test_figures_of_distances_and_logits():
    metrics = JudgementMetrics()
    metrics.update(torch.tensor([[0.1, 0.2, -1.0], [0.3, 0.2, 2.0]]), torch.tensor([0.0, 0.8]))
    metrics.update(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([0.5]))
    found = metrics.compute()
    assert tuple(found) == metrics.names
    assert found["score"] == pytest.approx((1.0 + 0.8 + 0.5) / 3)
    assert found["oracle"] == pytest.approx((1.0 + 0.8 + 0.5) / 3)
    losses = [math.log1p(math.exp(-1.0)), math.log1p(math.exp(2.0)) - 0.8 * 2.0, math.log(2.0)]
    floors = [0.0, -0.8 * math.log(0.8) - 0.2 * math.log(0.2), math.log(2.0)]
    assert found["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert found["excess"] == pytest.approx((sum(losses) - sum(floors)) / 3, rel=1e-5)


def test_figures_of_no_triplet_are_nan():
    assert all(math.isnan(value) for value in JudgementMetrics().compute().values())


def test_the_metric_set_knows_polygons_and_judgements():
    metrics = MetricSet({"outline": TaskSpec("polygon", 4), "judge": TaskSpec("judgement", 2)})
    square = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    metrics.update(
        {"outline": square * torch.tensor([0.5, 1.0]), "judge": torch.tensor([[0.1, 0.2, 0.0]])},
        {"outline": square, "judge": torch.tensor([0.0])},
    )
    found = metrics.compute()
    assert tuple(found) == metrics.names
    assert found["tasks.outline.iou"] == pytest.approx(0.5)
    assert found["tasks.outline.loss"] == pytest.approx(2 * 0.25 / 4)  # two vertices are half a side away, area 1
    assert found["global.score"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["global.loss"] == pytest.approx(0.125 + math.log(2.0))
