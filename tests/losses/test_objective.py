"""Terms to tasks: sums, weights, and what is not evaluated."""

import pytest
import torch

from coral_mtl.errors import ConfigError
from coral_mtl.losses.objective import Objective
from coral_mtl.schedules import Horizon

RUN = Horizon(steps=10, steps_per_epoch=5)


class Terms:
    """Two terms of the task `shape` and one of `kind`; remembers what it was asked for."""

    terms = ("l2", "iou", "kind")

    def __init__(self):
        self.terms_by_task = {"shape": ("l2", "iou"), "kind": ("kind",)}
        self.asked = None

    def __call__(self, predictions, targets, only=None):
        self.asked = only
        values = {"l2": 2.0, "iou": 3.0, "kind": 5.0}
        return {name: torch.tensor(values[name]) for name in self.terms if only is None or name in only}


def values(found):
    return {name: value.item() for name, value in found.items()}


def test_tasks_are_sums_of_their_terms():
    objective = Objective(Terms())
    assert objective.terms == ("shape", "kind")
    assert values(objective(None, None)) == {"shape": 5.0, "kind": 5.0}
    assert objective.loss.asked is None


def test_terms_are_themselves():
    objective = Objective(Terms(), balance="terms")
    assert objective.terms == ("l2", "iou", "kind")
    assert values(objective(None, None)) == {"l2": 2.0, "iou": 3.0, "kind": 5.0}


def test_weights_follow_their_schedules_and_a_term_of_weight_0_is_not_evaluated():
    weights = {"l2": {"steps": {"values": {"0": 1.0, "0.5": 0.0}}}, "iou": 0.5}
    objective = Objective(Terms(), weights=weights, run=RUN)
    assert values(objective(None, None, step=4)) == {"shape": 3.5, "kind": 5.0}
    assert values(objective(None, None, step=5)) == {"shape": 1.5, "kind": 5.0}
    assert objective.loss.asked == {"iou", "kind"}


def test_what_nobody_wants_is_not_evaluated():
    objective = Objective(Terms(), balance="terms")
    assert values(objective(None, None, without={"iou"})) == {"l2": 2.0, "kind": 5.0}
    assert objective.loss.asked == {"l2", "kind"}
    summed = Objective(Terms())
    assert values(summed(None, None, without={"shape"})) == {"kind": 5.0}
    assert summed.loss.asked == {"kind"}


def test_a_loss_that_cannot_leave_out_terms_is_asked_for_all_of_them():
    class Plain:
        terms = ("a", "b")

        def __call__(self, predictions, targets):
            return {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}

    assert values(Objective(Plain())(None, None, without={"a"})) == {"b": 2.0}


def test_mistakes():
    with pytest.raises(ConfigError, match="no term is called 'mgiou'"):
        Objective(Terms(), weights={"mgiou": 1.0}, run=RUN)
    with pytest.raises(ConfigError, match=r"loss\.term_weights\.l2 is -1 at step 0"):
        Objective(Terms(), weights={"l2": -1.0}, run=RUN)
    with pytest.raises(ConfigError, match="say how long the run is"):
        Objective(Terms(), weights={"l2": 1.0})
