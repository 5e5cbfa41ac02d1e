"""PCD: a peer's figures, the problem solved by brute force, what happens where it has no solution."""

from itertools import combinations

import numpy as np
import pytest
from gradient_families import mixed_draws
from stateful_values import observe, peer_directions, peer_sequences

from coral_mtl.engine.gradient_strategies.pcd import PCD
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import StrategyError


def direction_of(gradients, **options):
    return PCD(**options).decide(observe(gradients)).coefficients @ gradients


@pytest.mark.parametrize("value", peer_directions("PCD"), ids=lambda value: value.name)
def test_first_steps_of_a_peer(value):
    found = direction_of(value.gradients, epsilon=1e-8)
    np.testing.assert_allclose(found, value.direction, rtol=value.rtol, atol=1e-9 * np.abs(value.direction).max())


@pytest.mark.parametrize("sequence", peer_sequences("PCD", "torchjd"), ids=lambda sequence: sequence.name)
def test_sequences_of_a_peer(sequence):
    strategy = PCD(tau=sequence.params["tau"], beta=sequence.params["beta"], epsilon=sequence.params["eps"])
    for G, step in zip(sequence.gradients, sequence.steps, strict=True):
        np.testing.assert_allclose(strategy.decide(observe(G)).coefficients, step["weights"], rtol=1e-9, atol=1e-12)


def brute_force(primary, others, tau):
    """min |d - h_0|^2 subject to <h_j, d> >= tau |h_j|^2: the best over all sets of active constraints."""
    bounds = tau * (others**2).sum(axis=1)
    best = None
    for size in range(len(others) + 1):
        for active in map(list, combinations(range(len(others)), size)):
            d = primary.copy()
            if active:
                A = others[active]
                d += np.linalg.pinv(A) @ (bounds[active] - A @ primary)
            if (others @ d >= bounds - 1e-9).all() and (
                best is None or np.linalg.norm(d - primary) < np.linalg.norm(best - primary)
            ):
                best = d
    return best


@pytest.mark.parametrize("tau", [0.02, 0.5])
def test_the_problem_is_solved(tau):
    for seed in range(40):
        G = np.random.default_rng(seed).standard_normal((4, 6)) * [[1.0], [5.0], [0.1], [30.0]]
        G -= 0.8 * G[:1] * (seed % 2) * [[0.0], [5.0], [0.1], [30.0]]
        normalised = G / np.linalg.norm(G, axis=1, keepdims=True)
        wanted = brute_force(normalised[0], normalised[1:], tau)
        wanted *= np.linalg.norm(G[0]) / np.linalg.norm(wanted)
        np.testing.assert_allclose(direction_of(G, tau=tau), wanted, rtol=1e-7, atol=1e-9)


def test_the_average_of_squares_sets_the_scale():
    """A secondary gradient twice as long as usual is owed twice as much of its own direction."""
    strategy = PCD(tau=0.3, beta=0.5)
    strategy.decide(observe(np.array([[1.0, 0.0], [0.0, 1.0]])))
    G = np.array([[1.0, 0.0], [0.0, 4.0]])
    direction = strategy.decide(observe(G)).coefficients @ G
    h = np.array([0.0, 4.0]) / np.sqrt((0.25 * 1 + 0.5 * 16) / 0.75)
    bent = np.array([1.0, 0.3 * h[1]])
    np.testing.assert_allclose(direction, bent / np.linalg.norm(bent), rtol=1e-12)


def test_a_direction_that_suits_all_is_left_alone():
    G = np.array([[1.0, 0.1], [1.0, 0.0], [0.9, 0.2]])
    np.testing.assert_allclose(PCD().decide(observe(G)).coefficients, [1.0, 0.0, 0.0], atol=1e-12)


def test_no_more_scale_than_that_of_the_primary():
    for G in mixed_draws(100):
        decision = PCD().decide(observe(G))
        direction = decision.coefficients @ G
        if decision.solution.status is Status.SOLVED:
            assert np.linalg.norm(direction) == pytest.approx(np.linalg.norm(G[0]), rel=1e-7)
        scales = 10.0 ** np.random.default_rng(len(G)).uniform(-6, 6, (len(G), 1))
        scales[0] = 1.0
        np.testing.assert_allclose(direction_of(G * scales), direction, rtol=1e-5, atol=1e-6 * np.linalg.norm(G[0]))


def test_without_a_direction_for_all_the_primary_goes_its_way():
    decision = PCD().decide(observe(np.array([[1.0, 2.0], [3.0, 0.0], [-5.0, 0.0]])))
    assert decision.solution.status is Status.FALLBACK
    np.testing.assert_array_equal(decision.coefficients, [1.0, 0.0, 0.0])


def test_a_primary_against_everybody_gives_way():
    G = np.array([[1.0, 0.0], [-2.0, 0.0]])
    decision = PCD(tau=0.1).decide(observe(G))
    np.testing.assert_allclose(decision.coefficients @ G, [-1.0, 0.0], rtol=1e-12)
    assert PCD(tau=0.0).decide(observe(G)).solution.status is Status.STATIONARY
    assert not PCD(tau=0.0).decide(observe(G)).coefficients.any()


def test_the_shared_parameters_rest_without_the_primary():
    G = np.random.default_rng(0).standard_normal((3, 5))
    strategy = PCD(primary="main")
    strategy.bind(["a", "main", "b"])
    found = strategy.decide(observe(G, tasks=("a", "main", "b"))).coefficients
    assert found[1] > 0.0
    decision = strategy.decide(observe(G[:2], tasks=("b", "a")))
    assert decision.solution.status is Status.STATIONARY
    assert decision.coefficients.tolist() == [0.0, 0.0]
    G[1] = 0.0
    assert strategy.decide(observe(G, tasks=("a", "main", "b"))).coefficients.tolist() == [0.0, 0.0, 0.0]


def test_the_primary_is_the_first_task_unless_told():
    G = np.random.default_rng(1).standard_normal((2, 5))
    G[1] = -G[0] + 0.3 * G[1]
    strategy = PCD()
    strategy.bind(["x", "y"])
    assert strategy.decide(observe(G, tasks=("y", "x"))).coefficients[1] > 0.0
    alone = PCD(primary="y").decide(observe(G, tasks=("x", "y")))
    assert np.linalg.norm(alone.coefficients @ G) == pytest.approx(np.linalg.norm(G[1]))
    assert PCD(primary="x").promises.permutation
    assert not PCD().promises.permutation
    with pytest.raises(StrategyError, match="primary task 'z' is none of this run"):
        PCD(primary="z").bind(["x", "y"])
