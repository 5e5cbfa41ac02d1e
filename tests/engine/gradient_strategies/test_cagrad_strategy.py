"""CAGrad as a strategy: certified directions, right peers, rescaling, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, least_cosine, mixed_draws, relative_difference
from reference_values import exact_values, peer_values
from stateful_values import observe

from coral_mtl.engine.gradient_strategies.cagrad import CAGrad
from coral_mtl.errors import StrategyError


def direction(gradients, **options):
    return CAGrad(**options).decide(observe(gradients)).coefficients @ gradients


@pytest.mark.parametrize("exact", exact_values("CAGrad"), ids=lambda exact: exact.name)
def test_certified_directions(exact):
    assert relative_difference(direction(exact.case.gradients, **exact.options), exact.direction) <= 1e-9


@pytest.mark.parametrize("peer", peer_values("CAGrad"), ids=lambda peer: peer.name)
def test_peers_where_they_are_right(peer):
    gradients = peer.case.gradients
    found = direction(gradients, **peer.options)
    scale = np.linalg.norm(gradients, axis=1) * np.linalg.norm(found)
    assert np.abs((gradients @ found - peer.products / peer.times) / scale).max() <= peer.tolerance


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
