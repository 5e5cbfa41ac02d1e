"""Moderated variances against what they promise at both ends, and the functions below them against closed forms."""

import math

import numpy as np
import pytest

from coral_mtl.study.noise import moderated
from coral_mtl.study.polygamma import digamma, log_shortfall, trigamma, trigamma_inverse

RNG = np.random.default_rng(0)
EULER = 0.5772156649015329


def variances(figures):
    return (figures[:, None] - figures).var(axis=2, ddof=1)


def test_polygamma_functions_at_points_with_closed_forms():
    assert digamma(1.0) == pytest.approx(-EULER, rel=1e-12)
    assert digamma(0.5) == pytest.approx(-EULER - 2 * math.log(2), rel=1e-12)
    assert trigamma(1.0) == pytest.approx(math.pi**2 / 6, rel=1e-12)
    assert trigamma(0.5) == pytest.approx(math.pi**2 / 2, rel=1e-12)
    assert trigamma(30.0) == pytest.approx(math.pi**2 / 6 - sum(1 / k**2 for k in range(1, 30)), rel=1e-12)


@pytest.mark.parametrize("x", [0.05, 0.5, 2.0, 40.0, 1e6])
def test_the_inverse_of_trigamma(x):
    assert trigamma_inverse(trigamma(x)) == pytest.approx(x, rel=1e-9)


@pytest.mark.parametrize("degrees", [2, 4, 9])
def test_logs_of_sample_variances_have_the_mean_variance_and_covariance_that_are_taken_for_them(degrees):
    figures = RNG.normal(size=(200_000, 3, degrees + 1))
    logs = np.log([(figures[:, 0] - figures[:, k]).var(axis=1, ddof=1) for k in (1, 2)])
    assert logs.mean() == pytest.approx(math.log(2) - log_shortfall(degrees), abs=0.01)
    assert logs.var() == pytest.approx(trigamma(degrees / 2), rel=0.02)
    assert np.cov(logs)[0, 1] == pytest.approx(1 / (2 * degrees), rel=0.1), "to first order"


def test_variances_that_differ_no_more_than_their_errors_become_one():
    upper = np.triu(2.0 + 0.1 * RNG.normal(size=(5, 5)), 1)
    same = upper + upper.T
    found, degrees = moderated(same, 4)
    pairs = ~np.eye(5, dtype=bool)
    assert np.ptp(found[pairs]) == pytest.approx(0.0, abs=1e-12)
    geometric = math.exp(np.log(same[pairs]).mean() + log_shortfall(4) - log_shortfall(degrees))
    assert found[0, 1] == pytest.approx(geometric)
    assert 12 < degrees < 16, "close to those of pooling, which are 16"


def test_variances_that_differ_wildly_stay_as_they_are():
    factors = np.triu(np.exp(3 * RNG.normal(size=(8, 8))), 1)
    wild = variances(10.0 ** np.arange(8)[:, None] * RNG.normal(size=(8, 6))) * (factors + factors.T)
    found, degrees = moderated(wild, 5)
    pairs = ~np.eye(8, dtype=bool)
    assert degrees == pytest.approx(5, rel=0.1)
    assert np.abs(np.log(found[pairs] / wild[pairs])).max() < 0.6


def test_the_unit_of_the_figures_does_not_matter():
    figures = RNG.normal(size=(5, 4))
    (small, few), (large, many) = moderated(variances(figures), 3), moderated(variances(1e9 * figures), 3)
    assert few == pytest.approx(many)
    assert large == pytest.approx(1e18 * small)


def test_two_strategies_and_none_that_vary_have_nothing_to_learn_from():
    two = variances(RNG.normal(size=(2, 5)))
    assert moderated(two, 4) == (pytest.approx(two), 4)
    still = np.zeros((4, 4))
    assert moderated(still, 4) == (pytest.approx(still), 4)


def test_runs_that_are_the_same_twice_learn_their_noise_from_the_others():
    figures = RNG.normal(size=(5, 6))
    found, _ = moderated(variances(np.vstack([figures, figures[:1]])), 5)
    alone, _ = moderated(variances(figures), 5)
    assert np.isfinite(found).all()
    assert 0.4 < found[1, 2] / alone[1, 2] < 2.5
    assert found[0, 5] > 0.0
