"""Student's t against closed forms, the printed tables, and the definition of the incomplete beta function."""

import math

import numpy as np
import pytest

from coral_mtl.study.student import critical_value, regularised_beta, two_sided_p

TIMES = [0.0, 1e-6, 0.1, 0.7, 1.0, 2.776, 5.0, 30.0, 1e4]


@pytest.mark.parametrize("t", TIMES)
def test_closed_forms_of_one_two_and_four_degrees(t):
    assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-9, abs=1e-15)
    assert two_sided_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-7, abs=1e-15)
    s = t / math.sqrt(4 + t * t)
    assert two_sided_p(t, 4) == pytest.approx(1 - 1.5 * s + 0.5 * s**3, rel=1e-4, abs=1e-15)


@pytest.mark.parametrize("t", [-2.0, 2.0])
def test_the_sign_does_not_matter(t):
    assert two_sided_p(t, 7) == two_sided_p(abs(t), 7)


def test_many_degrees_are_the_normal_distribution():
    for t in (0.5, 1.959964, 4.0):
        assert two_sided_p(t, 1e9) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-6)


@pytest.mark.parametrize(
    ("degrees", "p", "value"),
    [
        (1, 0.05, 12.7062047362),
        (2, 0.05, 4.3026527297),
        (4, 0.05, 2.7764451052),
        (12, 0.05, 2.1788128297),
        (28, 0.05, 2.0484071418),
        (28, 0.01, 2.7632624555),
        (120, 0.001, 3.3734537680),
        (4, 0.4, 0.9409645772),
    ],
)
def test_critical_values_of_the_printed_tables(degrees, p, value):
    assert critical_value(p, degrees) == pytest.approx(value, rel=1e-9)


def test_critical_values_are_those_at_which_the_test_has_that_p():
    for degrees in (1, 3, 17, 400):
        for p in (0.9, 0.3, 0.05, 1e-8):
            assert two_sided_p(critical_value(p, degrees), degrees) == pytest.approx(p, rel=1e-10)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2.0, 0.5), (14.0, 0.5), (3.0, 5.0), (1.0, 1.0)])
def test_incomplete_beta_is_the_integral_that_defines_it(a, b):
    # Substituting u = sin(v)^2 takes the singularities away: the integrand is 2 sin(v)^(2a-1) cos(v)^(2b-1).
    nodes, weights = np.polynomial.legendre.leggauss(400)

    def integral(x):
        end = math.asin(math.sqrt(x))
        v = 0.5 * end * (nodes + 1)
        return 0.5 * end * float(weights @ (2 * np.sin(v) ** (2 * a - 1) * np.cos(v) ** (2 * b - 1)))

    for x in (0.01, 0.3, 0.5, 0.8, 0.99):
        assert regularised_beta(x, a, b) == pytest.approx(integral(x) / integral(1.0), rel=1e-9)
    assert regularised_beta(0.0, a, b) == 0.0
    assert regularised_beta(1.0, a, b) == 1.0
