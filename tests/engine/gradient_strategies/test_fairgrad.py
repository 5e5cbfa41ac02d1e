"""FairGrad as a strategy: what scales do, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, least_cosine, mixed_draws, relative_difference
from stateful_values import observe

from coral_mtl.engine.gradient_strategies.fairgrad import FairGrad
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.errors import StrategyError


def direction(gradients, **options):
    return FairGrad(**options).decide(observe(gradients)).coefficients @ gradients


def test_the_default_is_that_of_the_papers_runs():
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    np.testing.assert_array_equal(direction(gradients), direction(gradients, alpha=2.0))


def test_alpha_one_is_nash_mtl():
    gradients = draws(SOLVABLE[7], 4, 1)[0]
    expected = NashMTL().decide(observe(gradients)).coefficients @ gradients
    assert relative_difference(direction(gradients, alpha=1.0), expected) <= 1e-10


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_a_larger_alpha_makes_the_gains_more_alike(alpha):
    """<g_t, d> is largest / smallest = (w_smallest / w_largest)^(1/alpha), here along a family of alphas."""
    gradients = draws(SOLVABLE[0], 5, 1)[0] * np.array([1.0, 2.0, 5.0, 10.0, 20.0])[:, None]
    spread = []
    for kind in (alpha, 2.0 * alpha):
        gains = gradients @ direction(gradients, alpha=kind)
        spread.append(gains.max() / gains.min())
    assert 1.0 < spread[1] < spread[0]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_common_factor_on_all_losses(alpha):
    gradients = draws(SOLVABLE[6], 4, 1)[0]
    expected = direction(gradients, alpha=alpha) * 100.0 ** ((1.0 - alpha) / (1.0 + alpha))
    np.testing.assert_allclose(direction(100.0 * gradients, alpha=alpha), expected, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0, 20.0])
def test_no_task_is_hurt(alpha):
    strategy = FairGrad(alpha=alpha)
    for gradients in mixed_draws(200):
        decision = strategy.decide(observe(gradients))
        assert least_cosine(gradients, decision.coefficients) >= -1e-9
        assert (decision.coefficients >= 0.0).all()


def test_wrong_options_are_named():
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(StrategyError, match="alpha"):
            FairGrad(alpha=alpha)
