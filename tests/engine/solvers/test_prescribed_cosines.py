"""Prescribed cosines: reached where they exist, the fairest direction where they do not, nothing where tasks cancel."""

import numpy as np
import pytest
from gradient_families import SIZES, SOLVABLE, draws, least_cosine

from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.prescribed_cosines import prescribed_cosines
from coral_mtl.engine.solvers.solution import Status


def unit_rows(generator, tasks, dimension):
    rows = generator.standard_normal((tasks, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosines_of(rows):
    return cosine_matrix(rows @ rows.T)[0]


@pytest.mark.parametrize("family", SOLVABLE, ids=lambda family: family.__name__)
@pytest.mark.parametrize("tasks", SIZES)
def test_independent_gradients_get_what_is_wanted(family, tasks):
    for gradients in draws(family, tasks, 3):
        wanted = np.random.default_rng(tasks).uniform(0.5, 2.0, tasks)
        wanted[-1] = wanted[0]  # or the duplicated gradients could not have it
        units = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
        solution = prescribed_cosines(cosines_of(gradients), wanted)
        assert solution.status is Status.SOLVED
        assert solution.residual <= 1e-6
        np.testing.assert_allclose(units @ (solution.weights @ units), wanted, rtol=1e-6)


def test_more_tasks_than_dimensions_get_the_fairest_direction():
    generator = np.random.default_rng(0)
    wanted = np.array([1.0, 2.0, 1.0, 0.5])
    rows = unit_rows(generator, 4, 3) + np.array([1.0, 0.0, 0.0])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    solution = prescribed_cosines(cosines_of(rows), wanted)
    assert solution.status is Status.FALLBACK
    direction = solution.weights @ rows
    least = (rows @ direction / wanted).min() / np.linalg.norm(direction)
    assert least > 0.0
    for _ in range(500):
        other = direction + 0.3 * np.linalg.norm(direction) * generator.standard_normal(3)
        assert (rows @ other / wanted).min() / np.linalg.norm(other) <= least + 1e-12
    hull = rows / wanted[:, None]
    np.testing.assert_allclose(min_norm(hull @ hull.T).weights @ hull, direction, atol=1e-12)


@pytest.mark.parametrize(
    "rows",
    [[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [-0.6, 0.8], [-0.6, -0.8]], [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]],
    ids=["opposite", "around", "opposite-and-another"],
)
def test_stationary_points_get_nothing(rows):
    solution = prescribed_cosines(cosines_of(np.array(rows)), np.ones(len(rows)))
    assert solution.status is Status.STATIONARY
    assert not solution.weights.any()


@pytest.mark.parametrize("precision", [2.3e-16, 1e-7, 1e-6])
def test_no_task_is_hurt_by_rounding(precision):
    generator = np.random.default_rng(1)
    for _ in range(300):
        tasks, dimension = int(generator.integers(2, 10)), int(generator.integers(1, 12))
        rows = unit_rows(generator, tasks, dimension) + generator.uniform(0, 3) * unit_rows(generator, 1, dimension)
        noise = precision * generator.uniform(-1, 1, (tasks, tasks))
        cosines = cosines_of(rows) + np.triu(noise, 1) + np.triu(noise, 1).T
        solution = prescribed_cosines(cosines, np.ones(tasks), precision)
        if solution.status is not Status.STATIONARY:
            units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            assert least_cosine(units, solution.weights) >= -10 * np.sqrt(tasks * precision)
