"""alpha and 1 - alpha, over time."""

import numpy as np
import pytest

from coral_mtl.engine.loss_weighting.mixture import Mixture
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import ConfigError, StrategyError
from coral_mtl.schedules import Horizon

RUN = Horizon(steps=11, steps_per_epoch=11)


def begun(tasks=("l2", "iou"), **options):
    strategy = Mixture(term="l2", **options)
    strategy.bind(tasks)
    strategy.begin(RUN)
    return strategy


def weights(strategy, step, tasks=("l2", "iou")):
    return strategy.decide(Observation(tasks, np.ones(len(tasks)), step=step)).coefficients.tolist()


@pytest.mark.parametrize(
    ("alpha", "middle"),
    [
        (0.3, 0.3),
        ({"cosine": {"start": 0.9, "end": 0.2}}, 0.55),
        ({"linear": {"start": 0.9, "end": 0.2}}, 0.55),
        ({"geometric": {"start": 0.9, "end": 0.2}}, 0.18**0.5),
        ({"steps": {"values": {"0": 0.9, "5 steps": 0.55, "0.75": 0.2}}}, 0.55),
    ],
)
def test_both_weights_add_up_to_1(alpha, middle):
    strategy = begun(alpha=alpha)
    assert weights(strategy, 5) == pytest.approx([middle, 1.0 - middle], abs=1e-12)
    assert all(sum(weights(strategy, step)) == pytest.approx(1.0) for step in range(11))


def test_several_others_share_the_rest():
    strategy = begun(("l2", "iou", "convexity"), alpha=0.4)
    assert weights(strategy, 0, ("l2", "iou", "convexity")) == pytest.approx([0.4, 0.3, 0.3])
    assert weights(strategy, 0, ("convexity",)) == pytest.approx([0.3]), "an absent task leaves the others' weights"


def test_two_stages_evaluate_one_loss_at_a_time():
    strategy = begun(alpha={"steps": {"values": {"0": 1, "7 steps": 0}}})
    assert [strategy.idle_tasks(step) for step in (0, 6, 7)] == [{"iou"}, {"iou"}, {"l2"}]


def test_mistakes():
    with pytest.raises(StrategyError, match="1 - alpha would be negative"):
        Mixture(term="l2", alpha=1.5)
    with pytest.raises(StrategyError, match="l2"):
        Mixture(term="l2").bind(("iou", "dice"))
    with pytest.raises(ConfigError, match=r"alpha is 1\.1 at step 6, and must be from 0 to 1"):
        begun(alpha={"linear": {"start": 0.5, "end": 1.5}})
    with pytest.raises(StrategyError, match="the length of the run is not known"):
        weights(Mixture(term="l2", alpha={"linear": {"start": 1, "end": 0}}), 0)
