"""The bargaining solution: a_i (Ma)_i = 1 in extended precision, invariants, stationarity, the published method."""

import numpy as np
import pytest
from gradient_families import (
    SIZES,
    SOLVABLE,
    STATIONARY,
    bargaining_residual,
    draws,
    least_cosine,
    nearly_stationary,
    nearness_to_stationarity,
    relative_difference,
    stationary,
)

from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.nash import nash
from coral_mtl.engine.solvers.nash_ccp import nash_ccp
from coral_mtl.engine.solvers.solution import Status

by_name = pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)


def gram(gradients):
    return gradients @ gradients.T


def bar(gradients):
    """1e-9, and 1e-6 next to stationarity, where rounding a solution to float64 costs about 2e-16 max b^2."""
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    cosines = gram(gradients / norms)
    return 1e-9 if nearness_to_stationarity(cosines, min_norm(cosines).weights) > 1e-3 else 1e-6


@by_name
@pytest.mark.parametrize("size", SIZES)
def test_residual(family, size):
    for gradients in draws(family, size, 10):
        solution = nash(gram(gradients))
        assert bargaining_residual(gram(gradients), solution.weights) <= bar(gradients)
        assert solution.residual <= bar(gradients)
        assert solution.status is (Status.SOLVED if solution.residual <= 1e-9 else Status.INACCURATE)
        assert (solution.weights > 0.0).all()


@by_name
@pytest.mark.parametrize("size", SIZES)
def test_length_is_the_root_of_the_number_of_tasks(family, size):
    for gradients in draws(family, size, 5):
        direction = nash(gram(gradients)).weights @ gradients
        assert np.linalg.norm(direction) == pytest.approx(np.sqrt(size), rel=1e-8)


@by_name
@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_rescaling_any_gradient_changes_nothing(family, size):
    for seed, gradients in enumerate(draws(family, size, 3)):
        scales = 10.0 ** np.random.default_rng(seed).uniform(-6, 6, size)[:, None]
        expected = nash(gram(gradients)).weights @ gradients
        scaled = nash(gram(scales * gradients)).weights @ (scales * gradients)
        assert relative_difference(scaled, expected) <= 1e-8


@pytest.mark.parametrize("cosine", [-0.999999, -0.5, 0.0, 0.3, 1.0])
def test_pairs_have_a_closed_form(cosine):
    norms = np.array([1e-3, 40.0])
    solution = nash(np.array([[1.0, cosine], [cosine, 1.0]]) * np.outer(norms, norms))
    np.testing.assert_allclose(solution.weights * norms, np.full(2, (1.0 + cosine) ** -0.5), rtol=1e-9)


def test_one_task_is_normalised():
    np.testing.assert_allclose(nash(np.array([[16.0]])).weights, [0.25])


def test_a_duplicate_has_twice_the_say():
    """Two equal unit gradients and an orthogonal one: 2 a^2 = 1 for the two, b^2 = 1 for the one."""
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(nash(matrix).weights, [0.5**0.5, 0.5**0.5, 1.0], rtol=1e-14)


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_at_a_stationary_point_the_direction_vanishes(family, size):
    for gradients in draws(family, size, 10):
        solution = nash(gram(gradients))
        assert solution.status is Status.STATIONARY
        assert np.linalg.norm(solution.weights @ gradients) <= 1e-4 * np.sqrt(size)


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_the_direction_shrinks_smoothly_towards_stationarity(size):
    """Its length falls from sqrt(T) to 0 without a jump, and it agrees with every task for as long as it is full."""
    base = stationary(np.random.default_rng(size), size)
    shift = np.random.default_rng(1).standard_normal(base.shape[1])
    shift -= np.linalg.pinv(base) @ (base @ shift)  # orthogonal to all, so that the direction hardly turns
    lengths = []
    for nearness in np.logspace(-5, -8, 121):
        gradients = base + nearness * shift / np.linalg.norm(shift)
        solution = nash(gram(gradients))
        lengths.append(np.linalg.norm(solution.weights @ gradients) / np.sqrt(size))
        if solution.status is not Status.STATIONARY:
            assert least_cosine(gradients, solution.weights) > 0.0
            assert lengths[-1] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.diff(lengths)).max() <= 0.1
    assert lengths[0] == pytest.approx(1.0, abs=1e-4)
    assert lengths[-1] <= 0.1


@pytest.mark.parametrize("size", [3, 8, 20])
@pytest.mark.parametrize("family", SOLVABLE + STATIONARY, ids=lambda family: family.__name__)
def test_float32_products(family, size):
    for gradients in draws(family, size, 3):
        single = (gradients / np.linalg.norm(gradients, axis=1, keepdims=True)).astype(np.float32)
        solution = nash((single @ single.T).astype(np.float64), precision=1e-6)
        assert np.isfinite(solution.weights).all()
        assert solution.status is not Status.FALLBACK
        assert np.linalg.norm(solution.weights @ single) <= 1.01 * np.sqrt(size)


def test_less_precise_products_count_as_stationary_sooner():
    gradients = nearly_stationary(np.random.default_rng(0), 8, nearness=1e-3)
    assert nash(gram(gradients)).status is not Status.STATIONARY
    assert nash(gram(gradients), precision=1e-5).status is Status.STATIONARY


def test_a_zero_gradient_takes_no_part():
    matrix = np.array([[4.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    solution = nash(matrix)
    np.testing.assert_array_equal(solution.weights[[0, 2]], nash(matrix[np.ix_([0, 2], [0, 2])]).weights)
    assert solution.weights[1] == 0.0


@pytest.mark.parametrize("solver", [nash, nash_ccp])
def test_nothing_but_zeros(solver):
    solution = solver(np.zeros((3, 3)))
    np.testing.assert_array_equal(solution.weights, np.zeros(3))
    assert solution.status is Status.STATIONARY


def test_a_matrix_that_is_no_gram_matrix_falls_back_to_a_finite_direction():
    matrix = np.full((3, 3), -0.9) + 1.9 * np.eye(3)
    solution = nash(matrix)
    assert solution.status is Status.FALLBACK
    np.testing.assert_allclose(solution.weights, solution.weights[0])
    assert np.isfinite(solution.weights).all()


def test_too_few_iterations_fall_back_to_the_min_norm_point_of_unit_gradients():
    gradients = draws(SOLVABLE[0], 5, 1)[0]
    norms = np.linalg.norm(gradients, axis=1)
    solution = nash(gram(gradients), max_iterations=1)
    assert solution.status is Status.FALLBACK
    weights = min_norm(gram(gradients / norms[:, None])).weights / norms
    np.testing.assert_allclose(solution.weights / solution.weights.sum(), weights / weights.sum(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_no_finite_matrix_raises(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 8))
    matrix = generator.uniform(-1, 1, (size, size)) * 10.0 ** generator.integers(-300, 300)
    solution = nash(0.5 * (matrix + matrix.T))
    assert np.isfinite(solution.weights).all()


@pytest.mark.parametrize("family", SOLVABLE[:8], ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_the_published_procedure_agrees(family, size):
    gradients = draws(family, size, 1)[0]
    expected = nash(gram(gradients)).weights @ gradients
    solution = nash_ccp(gram(gradients))
    assert solution.status is Status.SOLVED
    assert bargaining_residual(gram(gradients), solution.weights) <= 1e-6
    assert relative_difference(solution.weights @ gradients, expected) <= 1e-6


def test_the_published_procedure_leaves_stationary_points_to_newton():
    gradients = draws(STATIONARY[0], 3, 1)[0]
    solution = nash_ccp(gram(gradients))
    assert solution.status is Status.STATIONARY
    np.testing.assert_array_equal(solution.weights, nash(gram(gradients)).weights)


def test_the_published_procedure_cut_short_is_told():
    gradients = draws(SOLVABLE[2], 20, 1)[0]
    solution = nash_ccp(gram(gradients), max_iterations=1)
    assert solution.status is Status.FALLBACK
    np.testing.assert_array_equal(solution.weights, nash(gram(gradients)).weights)


def test_tasks_outside_a_vanishing_combination_still_gain():
    """Two opposite gradients cancel; the others settle among themselves: d = (0, 1, 1)."""
    gradients = np.array([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
    solution = nash(gram(gradients))
    assert solution.status is Status.STATIONARY
    np.testing.assert_allclose(solution.weights @ gradients, [0.0, 1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("seed", range(50))
def test_gradients_of_few_dimensions(seed):
    """Small whole numbers: many exact ties, duplicates and stationary points. Solved, or told to be stationary."""
    gradients = np.random.default_rng(seed).integers(-1, 2, (6, 4)).astype(float)
    gradients = gradients[gradients.any(axis=1)]
    solution = nash(gram(gradients))
    is_stationary = min_norm(gram(gradients)).status is Status.STATIONARY
    assert solution.status is (Status.STATIONARY if is_stationary else Status.SOLVED)
