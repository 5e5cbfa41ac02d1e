"""Curricula as strategies: names, times, what is not evaluated."""

import numpy as np
import pytest

from coral_mtl.engine.loss_weighting.curriculum import Curriculum
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import ConfigError, StrategyError
from coral_mtl.schedules import Horizon

RUN = Horizon(steps=100, steps_per_epoch=1)
TERMS = ["dice", "focal", "hausdorff"]


def begun(**options):
    strategy = Curriculum(**options)
    strategy.bind(options["terms"])
    strategy.begin(RUN)
    return strategy


def weights(strategy, step):
    return strategy.decide(Observation(tuple(strategy.terms), np.ones(len(strategy.terms)), step=step)).coefficients


def test_the_progressive_hybrid_of_the_guide():
    strategy = begun(plan="progressive_hybrid", terms=TERMS)
    assert weights(strategy, 29).tolist() == [2.0, 0.0, 0.0]
    assert weights(strategy, 40).tolist() == pytest.approx([1.7, 0.8, 0.0])
    assert weights(strategy, 70).tolist() == pytest.approx([1.4, 1.6, 1.0])
    assert strategy.idle_tasks(10) == {"focal", "hausdorff"}
    assert strategy.idle_tasks(31) == {"hausdorff"}
    assert strategy.idle_tasks(51) == set()


def test_a_cascade_enters_at_equal_parts_of_the_run():
    strategy = begun(plan="complexity_cascade", terms=["a", "b", "c", "d"])
    assert [strategy.idle_tasks(step) for step in (25, 50, 75, 76)] == [{"b", "c", "d"}, {"c", "d"}, {"d"}, set()]


def test_normalised_weights_add_up_to_the_number_of_terms():
    strategy = begun(plan="progressive_hybrid", terms=TERMS, normalise=True)
    assert all(weights(strategy, step).sum() == pytest.approx(3.0) for step in range(100))
    assert weights(strategy, 10).tolist() == [3.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"plan": "structure_boundary", "terms": TERMS}, "leads through 2 terms, not 3"),
        ({"plan": "progressive_hybrid", "terms": TERMS, "times": [0.5]}, "has 2 times, not 1"),
        ({"plan": "progressive_hybrid", "terms": TERMS, "low": 0.2}, "low has no effect"),
        ({"plan": "progressive_hybrid", "terms": ["dice"]}, "leads through 3 terms"),
    ],
)
def test_what_cannot_be(options, told):
    with pytest.raises(StrategyError, match=told):
        Curriculum(**options)


def test_times_that_do_not_fit_the_run_are_told_when_it_begins():
    strategy = Curriculum(plan="structure_boundary", terms=["dice", "focal"])
    with pytest.raises(ConfigError, match="the times must increase"):
        strategy.begin(Horizon(steps=8, steps_per_epoch=1))


def test_it_knows_no_weights_before_the_run_is_known():
    strategy = Curriculum(plan="progressive_hybrid", terms=TERMS)
    with pytest.raises(StrategyError, match="the length of the run is not known"):
        weights(strategy, 0)
