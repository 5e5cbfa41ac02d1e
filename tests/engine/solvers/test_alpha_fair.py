"""The alpha-fair weights: their defining equation in extended precision, closed forms, limits, degenerate input."""

import numpy as np
import pytest
from gradient_families import (
    SOLVABLE,
    STATIONARY,
    draws,
    extended,
    least_cosine,
    nearly_stationary,
    nearness_to_stationarity,
    relative_difference,
)
from reference_values import exact_values

from coral_mtl.engine.solvers.alpha_fair import alpha_fair
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.nash import nash
from coral_mtl.engine.solvers.solution import Status

by_name = pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)
ALPHAS = (0.01, 0.5, 1.0, 2.0, 5.0, 50.0)
TINY = float(np.finfo(float).tiny)
"""Below this a weight has lost digits, down to 0, and only says that the true one is below, too."""


def gram(gradients):
    return gradients @ gradients.T


def violation(gradients, weights, alpha):
    """max_i |<g_i, d> - w_i^(-1/alpha)| / (|g_i| |d|), by coordinates; of a tiny w_i, what <g_i, d> lacks."""
    gradients, weights = extended(gradients), extended(weights)
    direction = weights @ gradients
    gains = gradients @ direction
    wanted = np.maximum(weights, extended(np.array(TINY))) ** extended(np.array(-1.0 / alpha))
    error = np.where(weights > TINY, np.abs(gains - wanted), np.maximum(wanted - gains, 0.0))
    return float((error / np.sqrt((gradients * gradients).sum(axis=1)) / np.sqrt(direction @ direction)).max())


@pytest.mark.parametrize("exact", exact_values("FairGrad"), ids=lambda exact: exact.name)
def test_certified_directions(exact):
    gradients = exact.case.gradients
    solution = alpha_fair(gram(gradients), exact.options["alpha"])
    assert relative_difference(solution.weights @ gradients, exact.direction) <= 1e-9
    assert solution.status is Status.SOLVED


@by_name
@pytest.mark.parametrize("size", [1, 2, 3, 8, 20, 64])
def test_the_defining_equation(family, size):
    for gradients in draws(family, size, 2):
        for alpha in ALPHAS:
            solution = alpha_fair(gram(gradients), alpha)
            assert solution.status is Status.SOLVED
            assert solution.residual <= 1e-9
            assert violation(gradients, solution.weights, alpha) <= 1e-9
            assert (solution.weights >= 0.0).all()


@by_name
def test_alpha_one_is_the_bargaining_solution(family):
    for gradients in draws(family, 5, 3):
        expected = nash(gram(gradients)).weights @ gradients
        assert relative_difference(alpha_fair(gram(gradients), 1.0).weights @ gradients, expected) <= 1e-7


@pytest.mark.parametrize("alpha", ALPHAS)
def test_orthogonal_gradients(alpha):
    """M w = w^(-1/alpha) task by task."""
    squares = np.array([1e-8, 1e-2, 1.0, 30.0, 1e8])
    expected = squares ** (-alpha / (1.0 + alpha))
    np.testing.assert_allclose(alpha_fair(np.diag(squares), alpha).weights, expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_alike_gradients(alpha):
    """With M = n^2 ((1 - c) I + c 11') all weights are (n^2 (1 + (T - 1) c))^(-alpha/(1 + alpha))."""
    for cosine in (-0.49, 0.0, 0.9, 1.0):
        matrix = 9.0 * ((1.0 - cosine) * np.eye(3) + cosine)
        expected = (9.0 * (1.0 + 2.0 * cosine)) ** (-alpha / (1.0 + alpha))
        np.testing.assert_allclose(alpha_fair(matrix, alpha).weights, np.full(3, expected), rtol=1e-11)


def test_small_alpha_projects_the_sum():
    for family in SOLVABLE[:2] + SOLVABLE[6:8]:
        gradients = draws(family, 5, 1)[0]
        expected = dual_cone(gram(gradients), np.ones((1, 5))).weights @ gradients
        assert relative_difference(alpha_fair(gram(gradients), 1e-4).weights @ gradients, expected) <= 1e-2


def test_large_alpha_is_the_min_norm_point():
    for family in SOLVABLE[:4] + SOLVABLE[5:]:
        gradients = draws(family, 5, 1)[0]
        expected, found = min_norm(gram(gradients)).weights @ gradients, alpha_fair(gram(gradients), 1e3)
        expected /= np.linalg.norm(expected)
        direction = found.weights @ gradients
        assert relative_difference(direction / np.linalg.norm(direction), expected) <= 3e-2


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("factor", [2.0**-300, 2.0**-40, 2.0**40, 2.0**300])
def test_a_common_factor_scales_the_weights(alpha, factor):
    matrix = gram(draws(SOLVABLE[0], 5, 1)[0])
    expected = alpha_fair(matrix, alpha).weights * factor ** (-alpha / (1.0 + alpha))
    np.testing.assert_allclose(alpha_fair(matrix * factor, alpha).weights, expected, rtol=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
def test_stationary_points_are_told_and_left_alone(family, alpha):
    for size in (2, 3, 8, 20):
        for gradients in draws(family, size, 3):
            solution = alpha_fair(gram(gradients), alpha)
            assert solution.status is Status.STATIONARY
            assert nearness_to_stationarity(gram(gradients), solution.weights) <= 1e-5


@pytest.mark.parametrize("alpha", [0.5, 2.0, 5.0])
def test_the_direction_fades_towards_a_stationary_point(alpha):
    """As the min-norm point shrinks the status goes from SOLVED to STATIONARY once, and no step is wild."""
    lengths, statuses = [], []
    for exponent in range(3, 16):
        gradients = nearly_stationary(np.random.default_rng(1), 5, 10.0**-exponent)
        solution = alpha_fair(gram(gradients), alpha)
        least = np.linalg.norm(min_norm(gram(gradients)).weights @ gradients)
        lengths.append(np.linalg.norm(solution.weights @ gradients) / max(least, 1e-7) ** ((1 - alpha) / (1 + alpha)))
        statuses.append(solution.status)
    told = [status is Status.STATIONARY for status in statuses]
    assert told == sorted(told)
    assert not told[0]
    assert told[-1]
    assert max(lengths) <= 10.0


def test_a_gradient_of_zero_takes_no_part():
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    gradients[2] = 0.0
    others = alpha_fair(gram(gradients[[0, 1, 3]]), 2.0).weights
    np.testing.assert_allclose(alpha_fair(gram(gradients), 2.0).weights, [*others[:2], 0.0, others[2]], rtol=1e-12)
    assert alpha_fair(np.zeros((3, 3)), 2.0).status is Status.STATIONARY


def test_float32_products_near_stationarity_are_told_by_their_precision():
    gradients = draws(STATIONARY[0], 8, 1)[0].astype(np.float32)
    products = (gradients @ gradients.T).astype(np.float64)
    assert alpha_fair(products, 2.0, precision=1e-6).status is Status.STATIONARY


def test_too_few_steps_are_told():
    gradients = draws(SOLVABLE[2], 8, 1)[0]
    solution = alpha_fair(gram(gradients), 5.0, max_iterations=3)
    assert solution.status is Status.INACCURATE
    assert solution.residual > 1e-9
    assert np.isfinite(solution.weights).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_finite_matrix_raises(alpha):
    statuses = set()
    for seed in range(40):
        generator = np.random.default_rng(seed)
        size = int(generator.integers(1, 7))
        matrix = generator.uniform(-1, 1, (size, size)) * 10.0 ** generator.integers(-150, 150)
        solution = alpha_fair(0.5 * (matrix + matrix.T), alpha)
        assert np.isfinite(solution.weights).all()
        assert np.isfinite(solution.residual)
        statuses.add(solution.status)
    assert Status.FALLBACK in statuses


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_task_loses(alpha):
    for family in SOLVABLE:
        for gradients in draws(family, 8, 2):
            assert least_cosine(gradients, alpha_fair(gram(gradients), alpha).weights) >= -1e-9
