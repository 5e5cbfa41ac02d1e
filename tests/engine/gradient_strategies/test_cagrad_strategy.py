"""CAGrad as a strategy: rescaling, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, least_cosine, mixed_draws
from stateful_values import observe

from coral_mtl.engine.gradient_strategies.cagrad import CAGrad
from coral_mtl.errors import StrategyError


def direction(gradients, **options):
    return CAGrad(**options).decide(observe(gradients)).coefficients @ gradients


def test_rescaling_divides():
    gradients = draws(SOLVABLE[6], 4, 1)[0]
    plain = direction(gradients, c=0.5)
    np.testing.assert_allclose(direction(gradients, c=0.5, rescale=1), plain / 1.25, rtol=1e-11)
    np.testing.assert_allclose(direction(gradients, c=0.5, rescale=2), plain / 1.5, rtol=1e-11)


@pytest.mark.parametrize("c", [0.0, 0.4, 1.0, 3.0])
def test_the_mean_loss_falls_and_from_radius_one_on_every_loss(c):
    strategy = CAGrad(c=c)
    assert strategy.promises.descends_mean
    assert strategy.promises.non_conflicting == (c >= 1.0)
    hurt = 0
    for gradients in mixed_draws(200):
        coefficients = strategy.decide(observe(gradients)).coefficients
        direction = coefficients @ gradients
        assert direction @ gradients.mean(axis=0) >= 0.0
        hurt += least_cosine(gradients, coefficients) < -1e-9
    assert (hurt == 0) == (c >= 1.0)


def test_wrong_options_are_named():
    for options in ({"c": -0.1}, {"rescale": 3}):
        with pytest.raises(StrategyError, match="|".join(options)):
            CAGrad(**options)
