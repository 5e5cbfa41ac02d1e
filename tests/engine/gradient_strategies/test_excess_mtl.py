"""ExcessMTL: a peer's sequences, relative risks, absent tasks, scales."""

import numpy as np
import pytest
import torch
from stateful_values import observe_rows, peer_sequences

from coral_mtl.engine.gradient_strategies.excess_mtl import ExcessMTL


@pytest.mark.parametrize("sequence", peer_sequences("ExcessMTL", "LibMTL"), ids=lambda sequence: sequence.name)
def test_sequences_of_a_peer(sequence):
    strategy = ExcessMTL(lr=sequence.params["eta"], epsilon=1e-7, reduction="sum")
    for G, step in zip(sequence.gradients, sequence.steps, strict=True):
        coefficients = strategy.decide(observe_rows(G)).coefficients
        np.testing.assert_allclose(coefficients, step["loss_weight"], rtol=1e-9)
        np.testing.assert_allclose(coefficients @ G, step["direction"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sequence", peer_sequences("ExcessMTL", "torchjd"), ids=lambda sequence: sequence.name)
def test_the_first_step_is_no_one_hot_like_another_peers(sequence):
    """That one applies the raw first risks, some tens of them, as if they were relative."""
    first = ExcessMTL(lr=1.0).decide(observe_rows(sequence.gradients[0])).coefficients
    np.testing.assert_allclose(first, np.full(len(first), 1 / len(first)))
    risks = np.abs(sequence.gradients[0]).sum(axis=1)
    np.testing.assert_allclose(np.exp(risks) / np.exp(risks).sum(), sequence.steps[0]["weights"], rtol=1e-4)


def test_the_formula():
    generator = np.random.default_rng(0)
    strategy = ExcessMTL(lr=0.3)
    S, first, weights = np.zeros((3, 10)), None, np.full(3, 1 / 3)
    for _ in range(6):
        G = generator.standard_normal((3, 10))
        S += G**2
        risks = (G**2 / np.sqrt(S)).sum(axis=1)
        if first is None:
            first = risks
        else:
            weights = weights * np.exp(0.3 * risks / first)
            weights /= weights.sum()
        decision = strategy.decide(observe_rows(G))
        np.testing.assert_allclose(decision.coefficients, weights, rtol=1e-11)
    np.testing.assert_allclose(list(decision.records["excess_risk"].values()), risks / first, rtol=1e-12)


def test_a_task_that_converges_loses_weight():
    generator = np.random.default_rng(1)
    strategy = ExcessMTL(lr=0.1)
    for step in range(50):
        G = generator.standard_normal((2, 10)) * [[1.0], [np.exp(-0.2 * step)]]
        weights = strategy.decide(observe_rows(G)).coefficients
    assert weights[0] > 0.6


def test_scales_of_losses_do_not_matter():
    generator = np.random.default_rng(2)
    plain, scaled = ExcessMTL(lr=0.5), ExcessMTL(lr=0.5)
    for _ in range(4):
        G = generator.standard_normal((3, 10))
        wanted = plain.decide(observe_rows(G)).coefficients
        found = scaled.decide(observe_rows(G * [[1e-9], [1.0], [1e9]])).coefficients
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_explosions_stay_finite():
    strategy = ExcessMTL(lr=1.0)
    G = np.random.default_rng(3).standard_normal((2, 10))
    for scale in (1e-12, 1e12, 1.0, 1e-12):
        weights = strategy.decide(observe_rows(G * [[scale], [1.0]])).coefficients
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1.0)


def test_an_absent_task_keeps_its_share_and_a_new_one_measures_first():
    generator = np.random.default_rng(4)

    def step(strategy, tasks):
        return strategy.decide(observe_rows(generator.standard_normal((len(tasks), 10)), tasks=tasks)).coefficients

    strategy = ExcessMTL(lr=0.5)
    for _ in range(3):
        step(strategy, ("a", "b", "c"))
    before = strategy.state_dict()["logits"]
    total = np.exp(list(before.values())).sum()
    step(strategy, ("a", "b"))
    after = strategy.state_dict()["logits"]
    assert after["c"] == before["c"]
    assert np.exp(list(after.values())).sum() == pytest.approx(total)
    assert step(strategy, ("a", "new"))[1] > 0.0
    assert set(strategy.state_dict()["first"]) == {"a", "b", "c", "new"}


def test_coordinates_without_a_gradient_count_for_nothing():
    G = np.random.default_rng(5).standard_normal((2, 10))
    G[:, 4:] = 0.0
    strategy = ExcessMTL(lr=0.2)
    for _ in range(3):
        found = strategy.decide(observe_rows(G)).records["excess_risk"]
    np.testing.assert_allclose(list(found.values()), np.full(2, 3**-0.5), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_of_narrow_gradients_are_kept_in_float32(dtype):
    strategy = ExcessMTL()
    for _ in range(3):
        strategy.decide(observe_rows(1000 * np.ones((2, 10)), dtype=dtype))
    squares = strategy.state_dict()["squares"]["task_0"]["first.bias"]
    assert squares.dtype is torch.float32
    assert squares.item() == 3e6
