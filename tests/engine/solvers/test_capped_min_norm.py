"""The capped min-norm point: its optimality condition in extended precision, closed forms, another solver."""

import numpy as np
import pytest
from cvxopt import matrix, solvers
from gradient_families import SIZES, SOLVABLE, STATIONARY, draws, extended, relative_difference

from coral_mtl.engine.solvers.capped_min_norm import capped_min_norm
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.solution import Status

WIDEST = 4
"""Position of the family whose norms span 24 decades, where the shorter gradients of a pair are below rounding."""

FAMILIES = SOLVABLE[:WIDEST] + SOLVABLE[WIDEST + 1 :]
CAPS = (lambda size: 0.95, lambda size: 0.5, lambda size: 1.5 / size, lambda size: 3.0 / size)


def gram(gradients):
    return gradients @ gradients.T


def violation(gradients, weights, cap):
    """How far slopes <g_i, d> of tasks that could get more lie below those of tasks that could get less, in cosines."""
    gradients, weights = extended(gradients), extended(weights)
    direction = weights @ gradients
    norms, length = np.sqrt((gradients * gradients).sum(axis=1)), np.sqrt(direction @ direction)
    slopes, below = gradients @ direction, weights < cap * (1.0 - 1e-14)
    gaps = slopes[weights > 0.0][:, None] - slopes[below]
    scales = np.maximum(norms[weights > 0.0][:, None], norms[below]) * length
    return float(np.max(gaps / scales, initial=0.0))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_optimality_condition(family, size):
    for gradients in draws(family, size, 2):
        for cap in {max(choose(size), 1.0 / size) for choose in CAPS}:
            solution = capped_min_norm(gram(gradients), cap)
            assert solution.status is Status.SOLVED
            assert solution.residual <= 1e-9
            assert violation(gradients, solution.weights, cap) <= 2e-9
            assert solution.weights.sum() == pytest.approx(1.0, abs=1e-12)
            assert (solution.weights >= 0.0).all()
            assert (solution.weights <= cap * (1.0 + 1e-15)).all()


@pytest.mark.parametrize("size", [3, 8, 20])
def test_another_solver(size):
    options = {"show_progress": False, "abstol": 1e-14, "reltol": 1e-13, "feastol": 1e-13}
    for family in (SOLVABLE[0], SOLVABLE[6]):
        for gradients in draws(family, size, 3):
            cap = 2.0 / size
            bounds = matrix(np.concatenate([np.zeros(size), np.full(size, cap)]))
            result = solvers.qp(
                matrix(gram(gradients)),
                matrix(np.zeros(size)),
                matrix(np.concatenate([-np.eye(size), np.eye(size)])),
                bounds,
                matrix(np.ones((1, size))),
                matrix(1.0),
                options=options,
            )
            expected = np.array(result["x"]).ravel() @ gradients
            assert relative_difference(capped_min_norm(gram(gradients), cap).weights @ gradients, expected) <= 1e-6


def test_without_a_cap_it_is_the_min_norm_point():
    for family in SOLVABLE:
        gradients = draws(family, 5, 1)[0]
        np.testing.assert_array_equal(capped_min_norm(gram(gradients), 1.0).weights, min_norm(gram(gradients)).weights)


@pytest.mark.parametrize("cap", [0.25, 0.2, 1e-9])
def test_a_cap_that_leaves_no_choice_gives_equal_weights(cap):
    np.testing.assert_array_equal(capped_min_norm(gram(draws(SOLVABLE[0], 4, 1)[0]), cap).weights, np.full(4, 0.25))


def test_a_pair_by_hand():
    """The min-norm point of norms 1 and 3 at right angles has the weights 0.9 and 0.1."""
    square = np.diag([1.0, 9.0])
    np.testing.assert_allclose(capped_min_norm(square, 0.95).weights, [0.9, 0.1], rtol=1e-14)
    np.testing.assert_allclose(capped_min_norm(square, 0.75).weights, [0.75, 0.25], rtol=1e-14)
    np.testing.assert_allclose(capped_min_norm(square, 0.5).weights, [0.5, 0.5], rtol=1e-14)


def test_orthogonal_gradients():
    """Tasks below the cap share what is left by one over their square."""
    solution = capped_min_norm(np.diag([1.0, 4.0, 16.0, 100.0]), 0.4)
    rest = 0.2 / (1 / 16 + 1 / 100) / np.array([16.0, 100.0])
    np.testing.assert_allclose(solution.weights, [0.4, 0.4, *rest], rtol=1e-12)


def test_tasks_at_their_cap_may_be_hurt():
    gradients = np.array([[1.0, 0.0], [-3.0, 0.1], [-3.0, -0.1]])
    direction = capped_min_norm(gram(gradients), 0.5).weights @ gradients
    assert gradients[0] @ direction < 0.0


@pytest.mark.parametrize("family", STATIONARY, ids=lambda family: family.__name__)
def test_where_the_cap_allows_it_stationary_points_are_told(family):
    for size in (3, 8):
        for gradients in draws(family, size, 3):
            least = min_norm(gram(gradients)).weights.max()
            assert capped_min_norm(gram(gradients), float(least)).status is Status.STATIONARY


def test_a_gradient_of_zero_takes_as_much_as_it_may():
    solution = capped_min_norm(np.diag([1.0, 0.0, 1.0]), 0.6)
    np.testing.assert_allclose(solution.weights, [0.2, 0.6, 0.2], rtol=1e-14)
    assert capped_min_norm(np.zeros((3, 3)), 0.5).status is Status.STATIONARY


@pytest.mark.parametrize("seed", range(30))
def test_no_finite_matrix_raises(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 7))
    content = generator.uniform(-1, 1, (size, size)) * 10.0 ** generator.integers(-150, 150)
    for cap in (0.3, 0.6, 0.9):
        solution = capped_min_norm(0.5 * (content + content.T), cap)
        assert np.isfinite(solution.weights).all()
        assert solution.weights.sum() == pytest.approx(1.0, abs=1e-9)
