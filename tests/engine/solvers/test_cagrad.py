"""CAGrad's inner problem: certified directions, its optimality condition in extended precision, and its limits."""

import math

import numpy as np
import pytest
from gradient_families import (
    SIZES,
    SOLVABLE,
    STATIONARY,
    draws,
    extended,
    least_cosine,
    nearly_stationary,
    relative_difference,
)
from reference_values import exact_values

from coral_mtl.engine.solvers.cagrad import cagrad
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Status

SETTINGS = [(0.4, 1.0, 0.0), (1.5, 1.0, 0.0), (0.8, 0.01, 0.0), (0.8, 1e4, 0.0), (0.8, 1.0, 0.5), (0.8, 1.0, 1e3)]


def gram(gradients):
    return gradients @ gradients.T


def violation(gradients, weights, c, pull, curvature):
    """How far, relative to its own terms, a task's slope of the objective lies below the mean slope under w."""
    gradients, weights = extended(gradients), extended(weights)
    mean = gradients.mean(axis=0)
    mean_length = np.sqrt(mean @ mean)
    chosen = weights - extended(np.array(1.0)) / len(weights)
    chosen = chosen / chosen.sum()
    point = chosen @ gradients
    length = np.sqrt(point @ point)
    slopes = gradients @ (mean + pull * c * mean_length * point / length + curvature * point)
    scale = np.sqrt((gradients * gradients).sum(axis=1)) * (mean_length * (1.0 + pull * c) + curvature * length)
    return float(((chosen @ slopes - slopes) / scale).max())


@pytest.mark.parametrize("exact", exact_values("CAGrad"), ids=lambda exact: exact.name)
def test_certified_directions(exact):
    gradients = exact.case.gradients
    direction = cagrad(gram(gradients), exact.options["c"]).weights @ gradients
    assert relative_difference(direction, exact.direction) <= 1e-9


@pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_optimality_condition(family, size):
    for gradients in draws(family, size, 2):
        for c, pull, curvature in SETTINGS:
            solution = cagrad(gram(gradients), c, pull=pull, curvature=curvature)
            assert solution.status is Status.SOLVED
            assert solution.residual <= 1e-9
            assert violation(gradients, solution.weights, c, pull, curvature) <= 2e-9
            assert (solution.weights >= 1.0 / size - 1e-15).all()


@pytest.mark.parametrize("family", SOLVABLE[:8], ids=lambda family: family.__name__)
def test_the_direction_lies_on_the_edge_of_the_ball(family):
    gradients = draws(family, 5, 1)[0]
    mean = gradients.mean(axis=0)
    direction = cagrad(gram(gradients), 0.5).weights @ gradients
    assert np.linalg.norm(direction - mean) == pytest.approx(0.5 * np.linalg.norm(mean), rel=1e-9)


@pytest.mark.parametrize("family", SOLVABLE[:8], ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_ball_that_holds_zero_leaves_no_conflict(family, size):
    for gradients in draws(family, size, 5):
        assert least_cosine(gradients, cagrad(gram(gradients), 1.0).weights) >= -1e-9


@pytest.mark.parametrize("c", [1.0, 1.5, 5.0])
@pytest.mark.parametrize("nearness", [1e-2, 1e-4, 1e-5, 1e-6, 1e-7])
def test_near_stationarity_no_task_is_hurt_and_the_radius_is_as_good_as_the_gram_matrix(c, nearness):
    for seed in range(20):
        gradients = nearly_stationary(np.random.default_rng(seed), 2 + seed % 8, nearness)
        solution = cagrad(gram(gradients), c)
        assert least_cosine(gradients, solution.weights) >= -1e-9
        known = 1e-9 + 20 * 2.2e-16 / nearness**2
        assert solution.residual <= known
        mean = gradients.mean(axis=0)
        radius = np.linalg.norm(extended(solution.weights) @ extended(gradients) - mean) / np.linalg.norm(mean)
        assert radius == pytest.approx(c, rel=20 * known)
        assert solution.iterations < 30


@pytest.mark.parametrize("ratio", [1e3, 1e6, 1e12])
@pytest.mark.parametrize("pull", [1e-3, 1e-9, 1e-15])
def test_a_weak_pull_beside_uneven_norms(pull, ratio):
    """The root lies next to the steepest vertex, by far less than its own rounding error."""
    for even in draws(SOLVABLE[0], 4, 5):
        gradients = even * np.geomspace(1.0, ratio, 4)[:, None]
        solution = cagrad(gram(gradients), 0.8, pull=pull)
        assert solution.status is Status.SOLVED
        assert violation(gradients, solution.weights, 0.8, pull, 0.0) <= 2e-9


def test_radius_zero_is_the_mean():
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    np.testing.assert_array_equal(cagrad(gram(gradients), 0.0).weights, np.full(4, 0.25))


@pytest.mark.parametrize("limit", [{"pull": math.inf}, {"curvature": math.inf}, {"pull": 1e9}, {"curvature": 1e9}])
def test_a_strong_pull_or_curvature_leads_to_the_min_norm_point(limit):
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    mean, fairest = gradients.mean(axis=0), min_norm(gram(gradients)).weights @ gradients
    expected = mean + 0.3 * np.linalg.norm(mean) * fairest / np.linalg.norm(fairest)
    assert relative_difference(cagrad(gram(gradients), 0.3, **limit).weights @ gradients, expected) <= 1e-8


@pytest.mark.parametrize("pull", [0.0, 1e-9])
def test_without_a_pull_the_worst_task_is_chosen(pull):
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    mean = gradients.mean(axis=0)
    worst = gradients[np.argmin(gradients @ mean)]
    expected = mean + 0.3 * np.linalg.norm(mean) * worst / np.linalg.norm(worst)
    assert relative_difference(cagrad(gram(gradients), 0.3, pull=pull).weights @ gradients, expected) <= 1e-8


def test_one_task():
    np.testing.assert_allclose(cagrad(np.array([[9.0]]), 0.5).weights, [1.5])


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_stationary_points(family, size):
    """A ball that does not reach zero still has a best direction; from radius 1 on, none is left."""
    for gradients in draws(family, size, 5):
        solution = cagrad(gram(gradients), 0.4)
        assert solution.status is Status.STATIONARY
        assert violation(gradients, solution.weights, 0.4, 1.0, 0.0) <= 1e-8
        np.testing.assert_array_equal(cagrad(gram(gradients), 1.0).weights, np.zeros(size))


def test_zero_gradients_do_not_count():
    matrix = np.array([[4.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 2.0]])
    expected = cagrad(matrix[np.ix_([0, 2], [0, 2])], 0.5).weights
    np.testing.assert_array_equal(cagrad(matrix, 0.5).weights, [expected[0], 0.0, expected[1]])
    assert cagrad(np.zeros((2, 2)), 0.5).status is Status.STATIONARY


def test_a_mean_of_zero_stays():
    solution = cagrad(np.array([[1.0, -1.0], [-1.0, 1.0]]), 0.5)
    np.testing.assert_array_equal(solution.weights, [0.5, 0.5])
    assert solution.status is Status.STATIONARY


@pytest.mark.parametrize("seed", range(30))
def test_no_finite_matrix_raises(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 7))
    matrix = generator.uniform(-1, 1, (size, size)) * 10.0 ** generator.integers(-200, 200)
    matrix = 0.5 * (matrix + matrix.T)
    for c, pull, curvature in SETTINGS:
        assert np.isfinite(cagrad(matrix, c, pull=pull, curvature=curvature).weights).all()
