"""JudgementLoss: the losses of judged triplets as terms of a run."""

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.perceptual import JudgementLoss, brier, cross_entropy, focal, hinge, ranking

JUDGE = {"judge": TaskSpec("judgement", 2)}
GENERATOR = torch.Generator().manual_seed(3)
PREDICTION = torch.rand(9, 3, generator=GENERATOR, dtype=torch.float64)
VOTES = torch.tensor([0.0, 0.5, 1.0] * 3, dtype=torch.float64)


def terms(**options):
    return JudgementLoss(JUDGE, **options)({"judge": PREDICTION}, {"judge": VOTES})


def test_terms_are_means_over_the_triplets():
    first, second, logits = PREDICTION.unbind(dim=1)
    found = terms(terms=["ranking", "focal", "hinge", "brier", "cross_entropy"], margin=0.3, gamma=1.5)
    assert tuple(found) == ("ranking", "focal", "hinge", "brier", "cross_entropy")
    assert found["ranking"] == ranking(first, second, VOTES, margin=0.3).mean()
    assert found["focal"] == focal(logits, VOTES, gamma=1.5, alpha=None).mean()
    assert found["hinge"] == hinge(logits, VOTES, margin=0.3).mean()
    assert found["brier"] == brier(logits, VOTES).mean()
    assert found["cross_entropy"] == cross_entropy(logits, VOTES).mean()


def test_smoothed_votes():
    expected = cross_entropy(PREDICTION[:, 2], 0.8 * VOTES + 0.1).mean()
    assert terms(label_smoothing=0.2)["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_only_what_is_wanted():
    loss = JudgementLoss(JUDGE, terms=["brier", "cross_entropy"])
    assert tuple(loss({"judge": PREDICTION}, {"judge": VOTES}, only={"brier"})) == ("brier",)
    assert loss.terms_by_task == {"judge": ("brier", "cross_entropy")}


def test_refusals():
    with pytest.raises(ConfigError, match="gamma has no effect"):
        JudgementLoss(JUDGE, gamma=1.0)
    with pytest.raises(ConfigError, match="margin has no effect"):
        JudgementLoss(JUDGE, margin=1.0)
    with pytest.raises(ConfigError, match="each once"):
        JudgementLoss(JUDGE, terms=["brier", "brier"])
    with pytest.raises(ConfigError, match="kind judgement, and left is a regression"):
        JudgementLoss({"left": TaskSpec("regression", 1)})
    with pytest.raises(ConfigError, match="a single task, not for a, b"):
        JudgementLoss(dict.fromkeys("ab", JUDGE["judge"]))
    with pytest.raises(DataError, match=r"\(N, 3\), two distances and a logit, not \(9, 2\)"):
        JudgementLoss(JUDGE)({"judge": PREDICTION[:, :2]}, {"judge": VOTES})
