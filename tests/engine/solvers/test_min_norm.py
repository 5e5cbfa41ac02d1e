"""The min-norm point: its optimality condition in extended precision, closed forms, solvers against each other."""

import numpy as np
import pytest
from gradient_families import (
    SIZES,
    SOLVABLE,
    STATIONARY,
    draws,
    min_norm_violation,
    nearness_to_stationarity,
    relative_difference,
)

from coral_mtl.engine.solvers.min_norm import min_norm, min_norm_pgd, min_norm_qp
from coral_mtl.engine.solvers.solution import Status

EASY = SOLVABLE[:2] + SOLVABLE[3:8]
by_name = pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)


def gram(gradients):
    return gradients @ gradients.T


@by_name
@pytest.mark.parametrize("size", SIZES)
def test_violation_of_the_optimality_condition(family, size):
    for gradients in draws(family, size, 10):
        solution = min_norm(gram(gradients))
        assert min_norm_violation(gram(gradients), solution.weights) <= 1e-9
        assert solution.residual <= 1e-9
        assert solution.status is Status.SOLVED
        assert solution.weights.sum() == pytest.approx(1.0, abs=1e-14)
        assert (solution.weights >= 0.0).all()


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_stationary_points_are_told(family, size):
    for gradients in draws(family, size, 10):
        solution = min_norm(gram(gradients))
        assert solution.status is Status.STATIONARY
        assert nearness_to_stationarity(gram(gradients), solution.weights) <= 1e-7
        assert solution.residual <= 1e-7


@pytest.mark.parametrize("exponent", [2, 4, 6, 7])
def test_almost_opposite_pair(exponent):
    """g_1 = (1, h), g_2 = (-3, h): the min-norm point is (0, h), with w_2 = 1/4."""
    h = 10.0**-exponent
    solution = min_norm(gram(np.array([[1.0, h], [-3.0, h]])))
    np.testing.assert_allclose(solution.weights, [0.75, 0.25], rtol=1e-2 * h + 1e-14)
    assert solution.residual <= 1e-7


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[4.0, 1.0], [1.0, 2.0]], [0.25, 0.75]),
        ([[4.0, 3.0], [3.0, 2.5]], [0.0, 1.0]),
        ([[1.0, 1.0], [1.0, 1.0]], [0.5, 0.5]),
        ([[1.0, -1.0], [-1.0, 1.0]], [0.5, 0.5]),
    ],
)
def test_pairs_by_hand(matrix, expected):
    np.testing.assert_allclose(min_norm(np.array(matrix)).weights, expected, atol=1e-15)


def test_one_task():
    solution = min_norm(np.array([[1e-30]]))
    np.testing.assert_array_equal(solution.weights, [1.0])
    assert solution.status is Status.SOLVED


def test_orthogonal_gradients_are_weighted_by_one_over_their_square():
    norms = np.array([1e-6, 1e-3, 1.0, 1e3, 1e6])
    expected = norms**-2.0 / (norms**-2.0).sum()
    np.testing.assert_allclose(min_norm(np.diag(norms**2)).weights, expected, rtol=1e-13)


@by_name
def test_a_common_scale_changes_nothing(family):
    gradients = draws(family, 5, 1)[0]
    expected = min_norm(gram(gradients)).weights @ gradients
    for scale in (2.0**-300, 2.0**300):
        weights = min_norm(gram(gradients) * scale).weights
        assert relative_difference(weights @ gradients, expected) <= 1e-12


@pytest.mark.parametrize("size", [3, 64])
def test_norms_twelve_decades_apart_in_conflict(size):
    for seed in range(5):
        generator = np.random.default_rng(seed)
        gradients = generator.standard_normal((size, 2 * size))
        gradients -= 0.98 * gradients.mean(axis=0)
        gradients *= 10.0 ** generator.uniform(-6, 6, size)[:, None]
        assert min_norm_violation(gram(gradients), min_norm(gram(gradients)).weights) <= 1e-9


def test_long_gradients_that_cancel_beside_short_ones():
    """(1e8, 0) and (-1e8, 0) make zero; the short third gradient has no part in it."""
    gradients = np.array([[1e8, 0.0, 0.0], [-1e8, 0.0, 0.0], [1e-3, 1e-3, 0.0], [0.0, 0.0, 1e-3]])
    solution = min_norm(gram(gradients))
    assert solution.residual <= 1e-7
    assert min_norm_violation(gram(gradients), solution.weights) <= 1e-7


def test_a_zero_gradient_is_the_point_itself():
    solution = min_norm(np.array([[1.0, 0.0, 0.2], [0.0, 0.0, 0.0], [0.2, 0.0, 2.0]]))
    np.testing.assert_array_equal(solution.weights, [0.0, 1.0, 0.0])
    assert solution.status is Status.STATIONARY


def test_float32_products_near_stationarity_are_told_by_their_precision():
    gradients = draws(STATIONARY[0], 8, 1)[0].astype(np.float32)
    products = (gradients @ gradients.T).astype(np.float64)
    assert min_norm(products, precision=1e-6).status is Status.STATIONARY


@pytest.mark.parametrize("solver", [min_norm, min_norm_qp, min_norm_pgd])
@pytest.mark.parametrize("seed", range(10))
def test_matrices_that_are_no_gram_matrices_end_finite(solver, seed):
    generator = np.random.default_rng(seed)
    matrix = generator.uniform(-1, 1, (5, 5))
    matrix = 0.5 * (matrix + matrix.T) + np.diag(generator.uniform(0, 1, 5))
    weights = solver(matrix).weights
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("family", EASY, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", [2, 3, 8, 20])
def test_solvers_agree(family, size):
    for gradients in draws(family, size, 3):
        expected = min_norm(gram(gradients)).weights @ gradients
        interior = min_norm_qp(gram(gradients))
        descent = min_norm_pgd(gram(gradients), max_iterations=20000, tolerance=1e-10)
        assert relative_difference(interior.weights @ gradients, expected) <= 1e-6
        assert relative_difference(descent.weights @ gradients, expected) <= 1e-6
        assert interior.status is descent.status is Status.SOLVED


def test_projected_gradient_says_when_it_did_not_get_there():
    gradients = draws(SOLVABLE[2], 20, 1)[0]
    solution = min_norm_pgd(gram(gradients), max_iterations=20)
    assert solution.status is Status.INACCURATE
    assert solution.iterations == 20
    assert solution.residual > 1e-8
    assert solution.residual == pytest.approx(min_norm_violation(gram(gradients), solution.weights), rel=1e-6)


def test_projected_gradient_stops_at_its_tolerance():
    gradients = draws(SOLVABLE[0], 8, 1)[0]
    rough = min_norm_pgd(gram(gradients), tolerance=1e-3)
    fine = min_norm_pgd(gram(gradients), tolerance=1e-10)
    assert 1e-10 < rough.residual <= 1e-3
    assert fine.residual <= 1e-10
    assert rough.iterations < fine.iterations
