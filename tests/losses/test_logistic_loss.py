import math

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.losses.logistic import LogisticLoss

TASKS = {"a": TaskSpec("regression", 2), "b": TaskSpec("regression", 1)}


def test_the_mean_cross_entropy_of_shares_by_hand():
    loss = LogisticLoss(TASKS)
    assert loss.terms == ("a", "b")
    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
    terms = loss({"a": logits}, {"a": torch.tensor([[0.3, 0.5]])})
    by_hand = (math.log(2.0) - 0.5 * (math.log(0.75) + math.log(0.25))) / 2.0
    assert terms["a"].item() == pytest.approx(by_hand)
    assert set(terms) == {"a"}


def test_what_it_cannot_take():
    with pytest.raises(ConfigError, match="LogisticLoss is for tasks of the kind regression"):
        LogisticLoss({"a": TaskSpec("classification", 2)})
    with pytest.raises(DataError, match="shares from 0 to 1"):
        LogisticLoss(TASKS)({"a": torch.zeros(1, 2)}, {"a": torch.tensor([[0.2, 1.1]])})
    with pytest.raises(DataError, match="nothing for the task 'b'"):
        LogisticLoss(TASKS)({"a": torch.zeros(1, 2)}, {"b": torch.zeros(1, 1)})
