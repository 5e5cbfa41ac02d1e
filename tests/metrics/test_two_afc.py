import json
import math
from pathlib import Path

import pytest
import torch

from coral_mtl.metrics.two_afc import TwoAFC, agreement

PEER = json.loads((Path(__file__).parents[1] / "reference" / "perceptual.json").read_text())["score_2afc"]
D0, D1, VOTES = (torch.tensor(PEER[key], dtype=torch.float64) for key in ("d0", "d1", "judge"))


def test_ties_agree_by_one_half():
    assert agreement(D0, D1, VOTES).tolist() == pytest.approx(PEER["each"])


def test_the_score_of_any_batches():
    whole, parts = TwoAFC(), TwoAFC()
    whole.update(D0, D1, VOTES)
    for part in (slice(0, 1), slice(1, 5), slice(5, 6)):
        parts.update(D0[part], D1[part], VOTES[part])
    assert whole.compute()["score"] == pytest.approx(PEER["score"], abs=1e-12)
    assert parts.compute() == pytest.approx(whole.compute())
    assert tuple(whole.compute()) == TwoAFC.names


def test_both_ceilings():
    metric = TwoAFC()
    votes = torch.tensor([0.0, 0.2, 0.5, 0.6])
    metric.update(votes, -votes, votes)
    assert metric.compute()["oracle"] == pytest.approx((1.0 + 0.8 + 0.5 + 0.6) / 4)
    assert metric.compute()["judge"] == pytest.approx((1.0 + 0.68 + 0.5 + 0.52) / 4)


def test_no_distance_beats_the_oracle():
    generator = torch.Generator().manual_seed(0)
    votes = torch.randint(0, 6, (500,), generator=generator) / 5
    best = TwoAFC()
    best.update(votes, 1.0 - votes, votes)
    assert best.compute()["score"] == pytest.approx(best.compute()["oracle"])
    other = TwoAFC()
    other.update(torch.rand(500, generator=generator), torch.rand(500, generator=generator), votes)
    assert other.compute()["score"] < best.compute()["score"]


def test_nothing_and_nan_show():
    metric = TwoAFC()
    assert all(math.isnan(value) for value in metric.compute().values())
    metric.update(torch.tensor([math.nan, 0.1]), torch.tensor([0.1, 0.2]), torch.tensor([0.0, 0.0]))
    assert math.isnan(metric.compute()["score"])
    assert metric.compute()["oracle"] == 1.0
    metric.reset()
    assert metric.count == 0
