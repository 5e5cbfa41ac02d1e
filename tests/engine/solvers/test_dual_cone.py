"""Projections on the dual cone: their optimality condition in extended precision, all supports tried, closed forms."""

from itertools import product

import numpy as np
import pytest
from gradient_families import SIZES, SOLVABLE, STATIONARY, draws, extended, least_cosine, relative_difference
from reference_values import exact_values

from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.solvers.solution import Status

by_name = pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)


def gram(gradients):
    return gradients @ gradients.T


def violation(gradients, weights, combination):
    """How far v is from v >= u, <g_i, d> >= 0, and <g_i, d> = 0 where v_i > u_i; in cosines, by coordinates."""
    gradients, weights = extended(gradients), extended(weights)
    direction = weights @ gradients
    cosines = gradients @ direction / np.sqrt((gradients * gradients).sum(axis=1) * (direction @ direction))
    raised = weights > combination * (1.0 + 1e-12)
    return float(max(np.where(raised, np.abs(cosines), -cosines).max(), (combination - weights).max()))


def best_of_all_supports(gradients, target):
    """The nearest point to `target` in the cone, by trying every set of constraints that may be active."""
    nearest = None
    for active in product([False, True], repeat=len(gradients)):
        normals = gradients[list(active)]
        point = target - normals.T @ np.linalg.lstsq(normals.T, target, rcond=None)[0] if any(active) else target
        if (gradients @ point >= -1e-9 * np.linalg.norm(gradients, axis=1) * np.linalg.norm(target)).all():
            distance = np.linalg.norm(point - target)
            if nearest is None or distance < nearest[0]:
                nearest = distance, point
    return nearest[1]


@pytest.mark.parametrize("exact", exact_values("DualProj"), ids=lambda exact: exact.name)
def test_certified_projections_of_the_mean(exact):
    gradients = exact.case.gradients
    combination = np.full((1, len(gradients)), 1.0 / len(gradients))
    assert relative_difference(dual_cone(gram(gradients), combination).weights @ gradients, exact.direction) <= 1e-9


@pytest.mark.parametrize("exact", exact_values("UPGrad"), ids=lambda exact: exact.name)
def test_certified_means_of_projections(exact):
    gradients = exact.case.gradients
    combinations = np.eye(len(gradients)) / len(gradients)
    assert relative_difference(dual_cone(gram(gradients), combinations).weights @ gradients, exact.direction) <= 1e-9


@by_name
@pytest.mark.parametrize("size", SIZES)
def test_optimality_condition(family, size):
    for gradients in draws(family, size, 3):
        combination = np.random.default_rng(size).dirichlet(np.ones(size))
        solution = dual_cone(gram(gradients), combination[None, :])
        assert solution.status is Status.SOLVED
        assert solution.residual <= 1e-12
        assert violation(gradients, solution.weights, combination) <= 1e-9


@by_name
@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_several_projections_together_are_their_sum(family, size):
    for gradients in draws(family, size, 2):
        combinations = np.diag(np.random.default_rng(size).dirichlet(np.ones(size)))
        together = dual_cone(gram(gradients), combinations)
        one_by_one = [dual_cone(gram(gradients), row[None, :]).weights @ gradients for row in combinations]
        assert relative_difference(together.weights @ gradients, np.sum(one_by_one, axis=0)) <= 1e-8
        assert together.status is Status.SOLVED
        assert least_cosine(gradients, together.weights) >= -1e-9


@pytest.mark.parametrize("seed", range(30))
def test_no_other_set_of_constraints_is_better(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(2, 6))
    gradients = generator.standard_normal((size, 7))
    gradients -= generator.uniform(0.0, 0.99) * gradients.mean(axis=0)
    gradients *= 10.0 ** generator.uniform(-1, 1, (size, 1))
    combination = generator.uniform(0.0, 1.0, size)
    expected = best_of_all_supports(gradients, combination @ gradients)
    found = dual_cone(gram(gradients), combination[None, :]).weights @ gradients
    assert np.linalg.norm(found - expected) <= 1e-8 * np.linalg.norm(combination @ gradients)


def test_a_pair_by_hand():
    """g_1 = (1, 0), g_2 = (-3, 4): P(g_1) = (1, 0.75) touches g_2, P(g_2) = (0, 4) touches g_1."""
    matrix = np.array([[1.0, -3.0], [-3.0, 25.0]])
    np.testing.assert_allclose(dual_cone(matrix, np.array([[1.0, 0.0]])).weights, [1.0, 0.12], rtol=1e-14)
    np.testing.assert_allclose(dual_cone(matrix, np.array([[0.0, 1.0]])).weights, [3.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(dual_cone(matrix, np.eye(2)).weights, [4.0, 1.12], rtol=1e-14)


def test_nothing_is_changed_without_conflict():
    gradients = draws(SOLVABLE[1], 5, 1)[0]
    combination = np.array([[0.5, 0.1, 0.2, 0.0, 3.0]])
    np.testing.assert_array_equal(dual_cone(gram(gradients), combination).weights, combination[0])


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
@pytest.mark.parametrize("combine", [lambda size: np.eye(size) / size, lambda size: np.full((1, size), 1.0 / size)])
def test_stationary_points_are_told_and_left_alone(family, combine):
    for size in (2, 3, 8, 20):
        for gradients in draws(family, size, 3):
            solution = dual_cone(gram(gradients), combine(size))
            assert solution.status is Status.STATIONARY
            weighted = np.abs(solution.weights) @ np.linalg.norm(gradients, axis=1)
            assert np.linalg.norm(solution.weights @ gradients) <= 1e-7 * weighted


@pytest.mark.parametrize("copies", [2, 5])
def test_repeated_gradients(copies):
    gradients = draws(SOLVABLE[6], 4, 1)[0]
    repeated = np.concatenate([gradients, *[gradients[:1]] * (copies - 1)])
    combinations = np.zeros((4, len(repeated)))
    combinations[:, :4] = np.eye(4)
    expected = dual_cone(gram(gradients), np.eye(4)).weights @ gradients
    solution = dual_cone(gram(repeated), combinations)
    assert relative_difference(solution.weights @ repeated, expected) <= 1e-12
    assert solution.status is Status.SOLVED


def test_a_gradient_of_zero_keeps_its_share():
    matrix = np.array([[1.0, 0.0, -0.5], [0.0, 0.0, 0.0], [-0.5, 0.0, 1.0]])
    weights = dual_cone(matrix, np.eye(3)).weights
    np.testing.assert_allclose(weights, [1.5, 1.0, 1.5], rtol=1e-14)
    assert dual_cone(np.zeros((2, 2)), np.eye(2)).status is Status.STATIONARY


def test_one_task():
    np.testing.assert_array_equal(dual_cone(np.array([[4.0]]), np.array([[0.5]])).weights, [0.5])


@pytest.mark.parametrize("factor", [2.0**-600, 2.0**600])
def test_a_common_factor_changes_nothing(factor):
    matrix = gram(draws(SOLVABLE[7], 5, 1)[0])
    expected = dual_cone(matrix, np.eye(5)).weights
    np.testing.assert_allclose(dual_cone(matrix * factor, np.eye(5)).weights, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_no_finite_matrix_raises(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 7))
    matrix = generator.uniform(-1, 1, (size, size)) * 10.0 ** generator.integers(-150, 150)
    for combinations in (np.eye(size), np.ones((1, size))):
        solution = dual_cone(0.5 * (matrix + matrix.T), combinations)
        assert np.isfinite(solution.weights).all()
        assert np.isfinite(solution.residual)
