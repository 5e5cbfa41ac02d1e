"""Weights by the regime of a gradient ratio or a metric."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from coral_mtl.engine.loss_weighting.switch import Switch
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.errors import StrategyError

PEER = json.loads((Path(__file__).parents[2] / "reference/component_weights.json").read_text())["dynamic_hybrid"]
WEAK, MIDDLE, STRONG = {"l2": 0.9, "iou": 0.1}, {"l2": 0.7, "iou": 0.3}, {"l2": 0.3, "iou": 0.7}


def observation(l2, iou):
    return Observation(("l2", "iou"), np.ones(2), gram=np.diag([l2**2, iou**2]))


def adaptive(**options):
    defaults = {"ratio": ("iou", "l2"), "ease": 1.0, "beta": 0.0, "dwell": 0, "hysteresis": 0.0}
    strategy = Switch(weights=[WEAK, MIDDLE, STRONG], **defaults | options)
    strategy.bind(("l2", "iou"))
    return strategy


def weights(strategy, l2, iou):
    return dict(zip(("l2", "iou"), strategy.decide(observation(l2, iou)).coefficients.tolist(), strict=True))


def test_metrics_and_weights_of_the_dynamic_hybrid():
    sets = [PEER["-1"], PEER["0.7"], PEER["0.85"]]
    strategy = Switch(weights=sets, metric="dice", thresholds=[0.7, 0.85], ease=1.0)
    tasks = tuple(sets[0])
    strategy.bind(tasks)
    assert strategy.needs_now(tasks) is Needs.NOTHING
    for dice, expected in PEER.items():
        strategy.observe_validation({"dice": float(dice)})
        decided = strategy.decide(Observation(tasks, np.ones(4))).coefficients
        assert dict(zip(tasks, decided.tolist(), strict=True)) == expected
    assert strategy.idle_tasks(0) == frozenset()
    strategy.observe_validation({"dice": 0.1})
    strategy.decide(Observation(tasks, np.ones(4)))
    assert strategy.idle_tasks(0) == {"hausdorff"}, "of weight 0 now and in the regime it is in"


def test_regimes_of_a_ratio():
    strategy = adaptive()
    assert weights(strategy, 1.0, 0.4) == pytest.approx(WEAK)
    assert weights(strategy, 1.0, 1.0) == pytest.approx(MIDDLE)
    assert weights(strategy, 1.0, 2.5) == pytest.approx(STRONG)


@pytest.mark.parametrize(("l2", "iou", "expected"), [(0.0, 1.0, STRONG), (1.0, 0.0, WEAK), (0.0, 0.0, MIDDLE)])
def test_vanishing_gradients_are_beyond_the_thresholds_and_two_of_them_hold(l2, iou, expected):
    strategy = adaptive()
    weights(strategy, 1.0, 1.0)
    assert weights(strategy, l2, iou) == pytest.approx(expected)


def test_hysteresis_is_in_the_log():
    strategy = adaptive(hysteresis=math.log(1.25))
    weights(strategy, 1.0, 1.0)
    assert weights(strategy, 1.0, 2.49) == pytest.approx(MIDDLE)
    assert weights(strategy, 1.0, 2.51) == pytest.approx(STRONG)
    assert weights(strategy, 1.0, 1.61) == pytest.approx(STRONG)
    assert weights(strategy, 1.0, 1.59) == pytest.approx(MIDDLE)


def test_the_ratio_is_averaged_in_the_log():
    strategy = adaptive(beta=0.5)
    decided = [strategy.decide(observation(1.0, ratio)) for ratio in (1.0, 4.0, 4.0)]
    means = [0.0, (0.25 * 0.0 + 0.5 * math.log(4)) / 0.75, (0.25 * math.log(4) + 0.5 * math.log(4)) / 0.875]
    assert [d.records["gradient_ratio"] for d in decided] == pytest.approx([math.exp(mean) for mean in means])
    assert [d.records["switch_regime"] for d in decided] == [1, 2, 2]


def test_weights_ease_over():
    strategy = adaptive(ease=0.25)
    weights(strategy, 1.0, 1.0)
    share, found = 0.3, []
    expected = []
    for _ in range(5):
        share += 0.25 * (0.7 - share)
        expected.append(share)
        found.append(weights(strategy, 1.0, 3.0)["iou"])
    assert found == pytest.approx(expected)


def test_gradients_are_looked_at_once_in_a_while():
    strategy = adaptive(update_frequency=3)
    tasks, needs = ("l2", "iou"), []
    for _ in range(6):
        needs.append(strategy.needs_now(tasks))
        strategy.decide(observation(1.0, 1.0))
    assert needs == [Needs.GRAM, Needs.NOTHING, Needs.NOTHING] * 2
    assert strategy.needs_now(("l2",)) is Needs.NOTHING, "without one of the two there is no ratio"


def test_at_the_prediction_no_gram_matrix_is_needed():
    strategy = adaptive(at="prediction")
    assert strategy.wants_predictions
    assert strategy.needs is Needs.LOSSES
    seen = Observation(("l2", "iou"), np.ones(2), prediction_norms=np.array([1.0, 5.0]))
    assert strategy.decide(seen).coefficients.tolist() == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ratio": None}, "one of the two"),
        ({"metric": "dice"}, "one of the two"),
        ({"ratio": None, "metric": "dice"}, "give thresholds"),
        ({"thresholds": [0.5]}, "3 sets of weights have 2 increasing thresholds"),
        ({"thresholds": [2.0, 0.5]}, "increasing"),
        ({"thresholds": [0.0, 0.5]}, "above 0"),
        ({"ratio": None, "metric": "dice", "thresholds": [0.1, 0.2]}, "has no effect"),
    ],
)
def test_what_cannot_be(options, told):
    with pytest.raises(StrategyError, match=told):
        adaptive(**options)


def test_a_stranger_in_the_ratio():
    strategy = Switch(weights=[WEAK, STRONG], ratio=("iou", "dice"), thresholds=[1.0])
    with pytest.raises(StrategyError, match="dice"):
        strategy.bind(("l2", "iou"))
