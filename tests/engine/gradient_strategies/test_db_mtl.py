"""DB-MTL: a peer's sequences, the Gram form, heads on log losses, reuse."""

import numpy as np
import pytest
from stateful_values import flat, observe, observe_rows, peer_sequences

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.db_mtl import DBMTL
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.errors import StrategyError


def on_coordinates(Y, G, losses, beta, epsilon=0.0):
    """One step of algorithm 1 on matrices; the paper and the peer add epsilon to the norms."""
    Y = beta * Y + (1 - beta) * G / (losses + 1e-8)[:, None]
    norms = np.linalg.norm(Y, axis=1)
    return Y, norms.max() * (Y / (norms + epsilon)[:, None]).sum(axis=0)


@pytest.mark.parametrize("sequence", peer_sequences("DB-MTL", "LibMTL"), ids=lambda sequence: sequence.name)
def test_sequences_of_a_peer(sequence):
    """To 1e-8 / |y|, which comes from what the peer adds to the norms; with it, algorithm 1 has its very figures."""
    beta, decay = sequence.params["beta"], sequence.params["beta_sigma"]
    strategy = DBMTL(beta=beta, decay=decay)
    Y = np.zeros_like(sequence.gradients[0])
    for k, step in enumerate(sequence.steps):
        G, losses = sequence.gradients[k], sequence.losses[k]
        following, peers = on_coordinates(Y, G, losses, beta / (k + 1) ** decay, epsilon=1e-8)
        Y, ours = on_coordinates(Y, G, losses, beta / (k + 1) ** decay)
        np.testing.assert_array_equal(Y, following)
        np.testing.assert_allclose(peers, step["direction"], rtol=1e-9, atol=1e-9)
        found = flat(strategy.decide(observe_rows(G, losses=losses)).direction)
        np.testing.assert_allclose(found, ours, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found, step["direction"], atol=1e-7 * np.abs(found).max())


def test_without_memory_the_gram_matrix_is_enough():
    G = np.random.default_rng(0).standard_normal((4, 10)) * np.logspace(-2, 2, 4)[:, None]
    losses = np.array([1.0, 0.1, 7.0, 2.0])
    strategy = DBMTL(beta=0.0)
    assert strategy.needs is Needs.GRAM
    _, wanted = on_coordinates(np.zeros_like(G), G, losses, 0.0)
    np.testing.assert_allclose(strategy.decide(observe(G, losses)).coefficients @ G, wanted, rtol=1e-11)


def test_heads_get_the_gradient_of_the_log_loss():
    G = np.random.default_rng(1).standard_normal((3, 10))
    losses = np.array([2.0, 0.0, 5.0])
    for strategy, observation in (
        (DBMTL(), observe_rows(G, losses=losses)),
        (DBMTL(beta=0.0), observe(G * [[1.0], [0.0], [1.0]], losses)),
    ):
        np.testing.assert_allclose(strategy.decide(observation).head_coefficients, 1 / (losses + 1e-8))


def test_reused_steps_look_at_the_losses_for_the_heads():
    G = np.random.default_rng(2).standard_normal((2, 10))
    strategy = DBMTL(beta=0.0, update_frequency=2)
    first = strategy.decide(observe(G, [1.0, 2.0], tasks=("a", "b")))
    assert strategy.needs_now(("a", "b")) is Needs.LOSSES
    reused = strategy.decide(Observation(("b", "a"), np.array([4.0, 0.5])))
    assert reused.coefficients.tolist() == first.coefficients[::-1].tolist()
    np.testing.assert_allclose(reused.head_coefficients, [0.25, 2.0], rtol=1e-7)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_scales_of_losses_do_not_change_the_direction(beta):
    generator = np.random.default_rng(3)
    plain, scaled = DBMTL(beta=beta), DBMTL(beta=beta)
    scales = np.array([1e-3, 1.0, 1e6])

    def direction(strategy, G, losses):
        decision = strategy.decide(observe_rows(G, losses=losses))
        return decision.coefficients @ G if beta == 0.0 else flat(decision.direction)

    for _ in range(3):
        G, losses = generator.standard_normal((3, 10)), generator.uniform(1, 2, 3)
        wanted, found = direction(plain, G, losses), direction(scaled, G * scales[:, None], losses * scales)
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_an_absent_task_takes_no_part_and_keeps_its_average():
    generator = np.random.default_rng(4)
    G, H, K = generator.standard_normal((3, 2, 10))
    strategy = DBMTL(beta=0.5)
    strategy.decide(observe_rows(G, tasks=("a", "b")))
    alone = flat(strategy.decide(observe_rows(H[:1], tasks=("a",))).direction)
    np.testing.assert_allclose(alone, 0.25 * G[0] + 0.5 * H[0], rtol=1e-7)
    both = flat(strategy.decide(observe_rows(K, tasks=("a", "b"))).direction)
    a, b = 0.125 * G[0] + 0.25 * H[0] + 0.5 * K[0], 0.25 * G[1] + 0.5 * K[1]
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    np.testing.assert_allclose(both, max(lengths) * (a / lengths[0] + b / lengths[1]), rtol=1e-7)


def test_averages_that_cancel_are_left_out():
    G = np.ones((2, 10))
    strategy = DBMTL(beta=0.5)
    strategy.decide(observe_rows(G))
    cancelling = np.vstack([-0.5 * G[0], G[1]])
    found = flat(strategy.decide(observe_rows(cancelling)).direction)
    np.testing.assert_allclose(found, 0.75 * G[1], rtol=1e-7)


def test_mistakes_are_told():
    G = np.ones((2, 10))
    with pytest.raises(StrategyError, match=r"DB-MTL compares losses by their ratios.*task_1"):
        DBMTL().decide(observe_rows(G, losses=[1.0, -1.0]))
    with pytest.raises(StrategyError, match="update_frequency has no effect"):
        DBMTL(update_frequency=2)
    with pytest.raises(StrategyError, match="decay has no effect"):
        DBMTL(beta=0.0, decay=0.5)
    assert DBMTL(beta=0.0, update_frequency=3).update_frequency == 3


def test_names():
    assert registry.strategies.get("db_mtl") is DBMTL
    assert registry.strategies.name_of(DBMTL) == "DB-MTL"
