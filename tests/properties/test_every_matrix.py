"""Any finite matrix has an answer: a finite direction, a status where something was solved, and never an exception."""

import numpy as np
import pytest
from every_strategy import CASES, direction, names, observe, take, walk
from hard_gradients import ANY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coral_mtl.engine.solvers.solution import Status
from coral_mtl.engine.strategy import GradientStrategy

each = pytest.mark.parametrize("case", CASES, ids=repr)
thorough = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@st.composite
def gradients(draw):
    """Any numbers at all, or one of the hard families; each row of a length of its own."""
    count = draw(st.integers(1, 8))
    if draw(st.booleans()):
        dimension = draw(st.integers(1, 9))
        unit = st.floats(-1.0, 1.0, allow_subnormal=False)
        matrix = draw(arrays(np.float64, (count, dimension), elements=unit))
    else:
        family = draw(st.sampled_from(ANY))
        matrix = family(np.random.default_rng(draw(st.integers(0, 10_000))), max(count, 2))
    exponents = draw(st.lists(st.integers(-12, 12), min_size=len(matrix), max_size=len(matrix)))
    lengths = np.maximum(np.abs(matrix).max(axis=1), 1e-300)[:, None]
    return matrix / np.maximum(lengths, 1.0) * 10.0 ** np.array(exponents)[:, None]


def assert_answered(decision, matrix):
    assert decision.coefficients.shape == (len(matrix),)
    assert np.isfinite(decision.coefficients).all()
    assert np.isfinite(direction(decision, matrix)).all()
    if decision.head_coefficients is not None:
        assert np.isfinite(decision.head_coefficients).all()
    if decision.solution is not None:
        assert decision.solution.status in Status
        assert np.isfinite(decision.solution.residual)
        assert decision.solution.residual >= 0.0
        assert np.isfinite(decision.solution.weights).all()


@each
@thorough
@given(matrix=gradients(), losses=st.floats(1e-3, 1e3))
def test_any_finite_matrix_is_answered(case, matrix, losses):
    strategy = case.build(len(matrix))
    for step in range(2):
        values = losses * np.linspace(1.0, 2.0, len(matrix)) * 0.9**step
        assert_answered(take(strategy, observe(strategy, matrix, values, step=step)), matrix)


@each
@pytest.mark.parametrize("family", ANY, ids=lambda family: family.__name__)
def test_every_family_is_answered(case, family):
    for count in (2, 3, 7):
        matrix = family(np.random.default_rng(count), count)
        strategy = case.build(count)
        assert_answered(take(strategy, observe(strategy, matrix)), matrix)


@each
@pytest.mark.parametrize("exponents", [(-12, 12), (12, -12), (-12, -12), (12, 12)])
def test_norms_of_24_decades(case, exponents):
    for count in (1, 2, 5):
        matrix = walk(1, count=count, seed=count)[0][0]
        matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix = matrix * np.logspace(*exponents, count)[:, None]
        strategy = case.build(count)
        assert_answered(take(strategy, observe(strategy, matrix)), matrix)


@each
@pytest.mark.parametrize("length", [1e-12, 1.0, 1e12])
def test_a_single_task_is_followed(case, length):
    gradient = np.array([[3.0, -4.0, 0.0, 12.0]]) / 13.0 * length
    strategy = case.build(1)
    for step in range(2):
        found = direction(take(strategy, observe(strategy, gradient, np.ones(1), step=step)), gradient)
        assert found @ gradient[0] > 0.0
        np.testing.assert_allclose(found / np.linalg.norm(found), gradient[0] / length, rtol=1e-9, atol=1e-12)


@each
def test_repeated_tasks(case):
    for seed in range(5):
        matrix = walk(1, count=3, seed=seed)[0][0]
        doubled = np.concatenate([matrix, matrix])
        strategy = case.build(6)
        decision = take(strategy, observe(strategy, doubled, np.ones(6)))
        assert_answered(decision, doubled)
        if strategy.promises.non_conflicting:
            found = direction(decision, doubled)
            assert (doubled @ found >= -1e-9 * np.linalg.norm(doubled, axis=1) * np.linalg.norm(found)).all()


@each
def test_a_task_without_a_gradient(case):
    """It harms nobody; a gradient strategy decides as if it were not there, and gives it no part in the direction."""
    for position in (0, 1, 2):
        matrix, losses = walk(1, count=3, seed=position)[0]
        matrix = matrix.copy()
        matrix[position] = 0.0
        strategy = case.build(3)
        decision = take(strategy, observe(strategy, matrix, losses))
        assert_answered(decision, matrix)
        if not isinstance(strategy, GradientStrategy):
            continue
        others = np.delete(np.arange(3), position)
        twin = case.build(3)
        tasks = tuple(names(3)[i] for i in others)
        alone = take(twin, observe(twin, matrix[others], losses[others], tasks=tasks))
        assert decision.coefficients[position] == 0.0
        np.testing.assert_allclose(decision.coefficients[others], alone.coefficients, rtol=1e-9, atol=1e-12)
        expected = direction(alone, matrix[others])
        np.testing.assert_allclose(direction(decision, matrix), expected, rtol=0.0, atol=1e-9 * np.abs(expected).max())


@each
def test_no_gradients_at_all(case):
    matrix = np.zeros((3, 5))
    strategy = case.build(3)
    for step in range(2):
        decision = take(strategy, observe(strategy, matrix, step=step))
        assert_answered(decision, matrix)
        assert not direction(decision, matrix).any()
