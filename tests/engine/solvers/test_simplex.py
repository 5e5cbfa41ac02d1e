"""Projections: optimality conditions, and bisection as a second route."""

import numpy as np
import pytest

from coral_mtl.engine.solvers.simplex import project_capped_simplex, project_simplex

SEEDS = range(20)


def bisect(total, low, high):
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if total(middle) > 1.0 else (low, middle)
    return 0.5 * (low + high)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_simplex_projection_is_v_minus_a_constant_cut_at_zero(size, seed):
    point = 3.0 * np.random.default_rng(seed).standard_normal(size)
    tau = bisect(lambda t: np.maximum(point - t, 0.0).sum(), point.min() - 1.0, point.max())
    np.testing.assert_allclose(project_simplex(point), np.maximum(point - tau, 0.0), atol=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
def test_projection_with_prices_meets_its_optimality_conditions(seed):
    generator = np.random.default_rng(seed)
    point, prices = generator.standard_normal(9), np.exp(generator.uniform(-12, 0, 9))
    projected = project_simplex(point, prices)
    assert prices @ projected == pytest.approx(1.0, abs=1e-12)
    multipliers = (point - projected) / prices
    on = projected > 0.0
    np.testing.assert_allclose(multipliers[on], multipliers[on][0], rtol=1e-9)
    assert (multipliers[~on] <= multipliers[on][0]).all()


def test_a_point_of_the_simplex_stays():
    np.testing.assert_allclose(project_simplex(np.array([0.2, 0.5, 0.3])), [0.2, 0.5, 0.3], atol=1e-16)


def test_ties_are_shared():
    np.testing.assert_array_equal(project_simplex(np.array([2.0, 2.0, -1.0])), [0.5, 0.5, 0.0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cap", [0.15, 0.4, 1.0])
def test_capped_simplex_projection_against_bisection(seed, cap):
    point = 3.0 * np.random.default_rng(seed).standard_normal(8)
    tau = bisect(lambda t: np.clip(point - t, 0.0, cap).sum(), point.min() - 2.0, point.max())
    projected = project_capped_simplex(point, cap)
    np.testing.assert_allclose(projected, np.clip(point - tau, 0.0, cap), atol=1e-12)
    assert projected.sum() == pytest.approx(1.0, abs=1e-12)


def test_caps_of_their_own():
    projected = project_capped_simplex(np.array([5.0, 1.0, 1.0]), np.array([0.2, 1.0, 0.3]))
    np.testing.assert_allclose(projected, [0.2, 0.5, 0.3], atol=1e-15)


def test_without_a_binding_cap_it_is_the_simplex():
    point = np.array([0.9, 0.1, -2.0])
    np.testing.assert_allclose(project_capped_simplex(point, 1.0), project_simplex(point), atol=1e-15)


def test_caps_too_small_are_all_taken():
    np.testing.assert_allclose(project_capped_simplex(np.array([1.0, 2.0]), 0.3), [0.3, 0.3])
