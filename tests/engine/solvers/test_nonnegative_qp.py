"""Nonnegative quadratic programs: all supports tried one by one as the second route, and the optimality conditions."""

from itertools import chain, combinations

import numpy as np
import pytest
from gradient_families import SIZES, SOLVABLE, draws

from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.nonnegative_qp import nonnegative_qp
from coral_mtl.engine.solvers.solution import Status


def by_enumeration(matrix, linear):
    """The least value over all supports whose unconstrained minimum is positive."""
    indices = range(len(linear))
    best, least = np.zeros(len(linear)), 0.0
    for support in chain.from_iterable(combinations(indices, size) for size in range(1, len(linear) + 1)):
        z = np.zeros(len(linear))
        z[list(support)] = np.linalg.solve(matrix[np.ix_(support, support)], -linear[list(support)])
        value = 0.5 * z @ matrix @ z + linear @ z
        if (z >= 0.0).all() and value < least:
            best, least = z, value
    return best


def random_problem(seed, size):
    generator = np.random.default_rng(seed)
    gradients = generator.standard_normal((size, size + 2)) - 0.3
    cosines, _ = cosine_matrix(gradients @ gradients.T)
    return cosines, generator.standard_normal(size)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_every_support_tried(seed, size):
    matrix, linear = random_problem(seed, size)
    solution = nonnegative_qp(matrix, linear)
    np.testing.assert_allclose(solution.weights, by_enumeration(matrix, linear), rtol=1e-10, atol=1e-12)
    assert solution.status is Status.SOLVED


@pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_optimality_conditions(family, size):
    for seed, gradients in enumerate(draws(family, size, 5)):
        cosines, _ = cosine_matrix(gradients @ gradients.T)
        linear = cosines @ np.random.default_rng(seed).standard_normal(size)
        solution = nonnegative_qp(cosines, linear)
        z = solution.weights
        scale = np.abs(cosines) @ z + np.abs(linear)
        slack = (cosines @ z + linear) / scale
        assert (z >= 0.0).all()
        assert slack.min() >= -1e-11
        assert np.abs(slack[z > 0.0]).max(initial=0.0) <= 1e-11
        assert solution.residual <= 1e-11


@pytest.mark.parametrize("seed", range(10))
def test_the_guess_does_not_change_the_solution(seed):
    matrix, linear = random_problem(seed, 7)
    cold = nonnegative_qp(matrix, linear)
    warm = nonnegative_qp(matrix, linear, cold.weights > 0.0)
    wrong = nonnegative_qp(matrix, linear, cold.weights <= 0.0)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-13)
    np.testing.assert_allclose(wrong.weights, cold.weights, atol=1e-12)
    assert warm.iterations == 1


def test_singular_blocks_keep_the_product_unique():
    gradients = np.random.default_rng(0).standard_normal((3, 5))
    gradients = np.vstack([gradients, gradients, gradients])
    cosines, _ = cosine_matrix(gradients @ gradients.T)
    linear = cosines @ np.array([-1.0, 0.2, -0.5] * 3)
    single = nonnegative_qp(cosines[:3, :3], linear[:3])
    tripled = nonnegative_qp(cosines, linear)
    np.testing.assert_allclose(cosines @ tripled.weights, np.tile(cosines[:3, :3] @ single.weights, 3), atol=1e-12)


def test_nothing_to_gain_is_zero():
    solution = nonnegative_qp(np.eye(3), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(solution.weights, np.zeros(3))


@pytest.mark.parametrize("seed", range(20))
def test_matrices_that_are_not_semidefinite_end_finite(seed):
    generator = np.random.default_rng(seed)
    matrix = generator.uniform(-1, 1, (6, 6))
    matrix = 0.5 * (matrix + matrix.T)
    np.fill_diagonal(matrix, 1.0)
    solution = nonnegative_qp(matrix, generator.standard_normal(6))
    assert np.isfinite(solution.weights).all()
    assert (solution.weights >= 0.0).all()


@pytest.mark.parametrize("scale", [0.5, 3.0, 1e-6])
def test_collinear_variables_compete(scale):
    """With A all ones, min over z >= 0 of (z_1 + z_2)^2/2 - z_1 - scale z_2: only the better of the two is used."""
    solution = nonnegative_qp(np.ones((2, 2)), np.array([-1.0, -scale]))
    np.testing.assert_allclose(solution.weights, [1.0, 0.0] if scale < 1.0 else [0.0, scale], rtol=1e-12)
    assert solution.status is Status.SOLVED


@pytest.mark.parametrize("seed", range(30))
def test_matrices_of_low_rank(seed):
    """More variables than dimensions, some of them collinear."""
    generator = np.random.default_rng(seed)
    gradients = generator.integers(-1, 2, (9, 3)).astype(float)
    gradients = gradients[gradients.any(axis=1)]
    cosines, _ = cosine_matrix(gradients @ gradients.T)
    linear = cosines @ generator.standard_normal(len(cosines)) + generator.uniform(0, 1, len(cosines))
    solution = nonnegative_qp(cosines, linear)
    slack = cosines @ solution.weights + linear
    assert solution.status is Status.SOLVED
    assert slack.min() >= -1e-12
    assert abs(slack @ solution.weights) <= 1e-12


def test_without_a_minimum_it_ends_far_down_the_slope():
    matrix, linear = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([-1.0, -1.0])
    z = nonnegative_qp(matrix, linear).weights
    assert np.isfinite(z).all()
    assert 0.5 * z @ matrix @ z + linear @ z <= -1e10
