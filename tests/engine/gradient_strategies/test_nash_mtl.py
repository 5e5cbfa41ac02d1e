"""Nash-MTL as a strategy: invariants, clipping, records, reuse."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, STATIONARY, draws, least_cosine, mixed_draws, relative_difference
from stateful_values import observe

from coral_mtl.engine.gradient_strategies import nash_mtl
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import MissingExtraError


def decide(gradients, **options):
    return NashMTL(**options).decide(observe(gradients))


def test_no_task_is_hurt():
    for gradients in mixed_draws(500):
        assert least_cosine(gradients, decide(gradients).coefficients) > 0.0


def test_scaling_a_loss_changes_nothing():
    for gradients in mixed_draws(50):
        scales = 10.0 ** np.random.default_rng(len(gradients)).uniform(-6, 6, len(gradients))[:, None]
        expected = decide(gradients).coefficients @ gradients
        scaled = decide(scales * gradients).coefficients @ (scales * gradients)
        assert relative_difference(scaled, expected) <= 1e-8


def test_one_task_is_normalised():
    np.testing.assert_allclose(decide(np.array([[3.0, 4.0]])).coefficients, [0.2])


def test_no_limit_by_default():
    gradients = draws(SOLVABLE[0], 9, 1)[0]
    assert np.linalg.norm(decide(gradients).coefficients @ gradients) == pytest.approx(3.0)


@pytest.mark.parametrize(("max_norm", "length"), [(1.0, 1.0), (2.5, 2.5), (4.0, 3.0)])
def test_clipping_shortens_the_direction_and_nothing_else(max_norm, length):
    gradients = draws(SOLVABLE[0], 9, 1)[0]
    free, clipped = decide(gradients), decide(gradients, max_norm=max_norm)
    np.testing.assert_allclose(clipped.coefficients, free.coefficients * length / 3.0, rtol=1e-12)
    assert clipped.records == free.records
    assert clipped.head_coefficients is None


def test_the_objective_is_the_sum_of_log_gains_and_is_maximal():
    gradients = draws(SOLVABLE[6], 4, 1)[0]
    decision = decide(gradients)
    direction = decision.coefficients @ gradients
    assert decision.records["nash_objective"] == pytest.approx(np.log(gradients @ direction).sum(), rel=1e-10)
    assert decision.records["nash_slack"] == pytest.approx(0.0, abs=1e-9)
    for seed in range(50):
        other = direction + 0.1 * np.random.default_rng(seed).standard_normal(len(direction))
        gains = gradients @ (other * 2.0 / np.linalg.norm(other))
        assert (gains <= 0.0).any() or np.log(gains).sum() < decision.records["nash_objective"]


def test_a_stationary_point_is_recorded():
    gradients = draws(STATIONARY[0], 4, 1)[0]
    decision = decide(gradients)
    assert decision.solution.status is Status.STATIONARY
    assert decision.records["nash_slack"] == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.norm(decision.coefficients @ gradients) <= 1e-4


def test_two_opposite_gradients():
    decision = decide(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(decision.coefficients @ np.array([[1.0, 0.0], [-1.0, 0.0]]), 0.0, atol=1e-8)
    assert decision.records["nash_objective"] == -np.inf


def test_an_idle_task_gets_nothing_and_leaves_the_others_exact():
    gradients = draws(SOLVABLE[0], 4, 1)[0]
    gradients[2] = 0.0
    expected = decide(np.delete(gradients, 2, axis=0)).coefficients
    np.testing.assert_array_equal(decide(gradients).coefficients, np.insert(expected, 2, 0.0))


def test_the_published_procedure_agrees():
    gradients = draws(SOLVABLE[7], 5, 1)[0]
    expected = decide(gradients).coefficients @ gradients
    decision = decide(gradients, solver="ccp")
    assert decision.solution.status is Status.SOLVED
    assert relative_difference(decision.coefficients @ gradients, expected) <= 1e-6


def test_too_few_iterations_are_recorded_as_a_fallback():
    gradients = draws(SOLVABLE[0], 5, 1)[0]
    decision = decide(gradients, max_iterations=1)
    assert decision.solution.status is Status.FALLBACK
    assert least_cosine(gradients, decision.coefficients) > 0.0


def test_coefficients_are_reused_between_refreshes():
    first, second = draws(SOLVABLE[0], 3, 2)
    strategy = NashMTL(update_frequency=2)
    solved = strategy.decide(observe(first))
    reused = strategy.decide(observe(second))
    refreshed = strategy.decide(observe(second))
    np.testing.assert_array_equal(reused.coefficients, solved.coefficients)
    assert not reused.refreshed
    np.testing.assert_array_equal(refreshed.coefficients, decide(second).coefficients)


def test_a_missing_extra_is_told_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(nash_mtl, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="NashMTL with solver: ccp needs the package 'cvxpy'"):
        NashMTL(solver="ccp")
    NashMTL()
