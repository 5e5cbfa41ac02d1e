"""Capped MGDA as a strategy: its limits, what the cap does, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, least_cosine, mixed_draws
from stateful_values import observe

from coral_mtl.engine.gradient_strategies.capped_mgda import CappedMGDA
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.errors import StrategyError


def test_between_the_mean_and_mgda():
    gradients = draws(SOLVABLE[7], 4, 1)[0]
    found = {cap: CappedMGDA(cap=cap).decide(observe(gradients)).coefficients for cap in (0.1, 0.25, 0.4, 1.0)}
    np.testing.assert_array_equal(found[0.1], np.full(4, 0.25))
    np.testing.assert_array_equal(found[0.25], np.full(4, 0.25))
    np.testing.assert_array_equal(found[1.0], MGDA().decide(observe(gradients)).coefficients)
    assert found[0.4].max() == pytest.approx(0.4)
    lengths = [np.linalg.norm(weights @ gradients) for weights in found.values()]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("cap", [0.3, 0.7, 1.0])
def test_weights_are_capped_and_the_mean_loss_falls(cap):
    strategy = CappedMGDA(cap=cap)
    assert strategy.promises.non_conflicting == (cap == 1.0)
    for gradients in mixed_draws(200):
        weights = strategy.decide(observe(gradients)).coefficients
        assert weights.sum() == pytest.approx(1.0)
        assert weights.max() <= max(cap, 1.0 / len(gradients)) * (1.0 + 1e-12)
        assert (weights @ gradients) @ gradients.mean(axis=0) >= 0.0
        if cap == 1.0:
            assert least_cosine(gradients, weights) >= -1e-9


def test_wrong_options_are_named():
    for cap in (0.0, 1.1):
        with pytest.raises(StrategyError, match="cap"):
            CappedMGDA(cap=cap)
