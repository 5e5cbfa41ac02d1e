"""MoCo: the algorithm on matrices, a peer's averages, the way to the min-norm point."""

import numpy as np
import pytest
import torch
from gradient_families import relative_difference
from stateful_values import flat, names, observe_rows, peer_sequences

from coral_mtl.engine.gradient_strategies.coordinates import GradientAverages
from coral_mtl.engine.gradient_strategies.moco import MoCo
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.simplex import project_simplex


@pytest.mark.parametrize("options", [{}, {"beta": 0.5, "gamma": 0.02, "rho": 0.0}])
def test_the_algorithm_on_matrices(options):
    beta, gamma, rho = (options.get(name, 0.1) for name in ("beta", "gamma", "rho"))
    generator = np.random.default_rng(0)
    strategy = MoCo(**options)
    Y, weights = np.zeros((3, 10)), np.full(3, 1 / 3)
    for _ in range(10):
        G = generator.standard_normal((3, 10)) * [[1.0], [2.0], [0.3]]
        Y -= beta * (Y - G)
        weights = project_simplex(weights - gamma * (Y @ Y.T + rho * np.eye(3)) @ weights)
        decision = strategy.decide(observe_rows(G))
        np.testing.assert_allclose(decision.coefficients, weights, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(flat(decision.direction), weights @ Y, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(list(decision.records["moco_lambda"].values()), weights, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("sequence", peer_sequences("MoCo", "LibMTL"), ids=lambda sequence: sequence.name)
def test_the_averages_are_those_of_a_peer(sequence):
    """The peer's weights come from a softmax and are not ours; its averages, of l g/|g|, are: with its weights."""
    averages = GradientAverages()
    tasks = names(len(sequence.gradients[0]))
    for k, step in enumerate(sequence.steps):
        observation = observe_rows(sequence.gradients[k])
        factors = sequence.losses[k] / (observation.norms + 1e-8)
        averages.move(
            tasks, observation.rows, sequence.params["beta"] / (k + 1) ** sequence.params["beta_sigma"], factors
        )
        direction = flat(averages.combined(tasks, observation.rows, np.array(step["lambd"])))
        np.testing.assert_allclose(direction, step["direction"], rtol=1e-9, atol=1e-9)


def test_constant_gradients_lead_to_the_min_norm_point():
    G = np.random.default_rng(1).standard_normal((3, 10)) + 0.3
    strategy = MoCo(beta=0.5, gamma=0.05, rho=0.0)
    for _ in range(3000):
        decision = strategy.decide(observe_rows(G))
    wanted = min_norm(G @ G.T).weights @ G
    assert relative_difference(flat(decision.direction), wanted) <= 1e-6


def test_long_gradients_lead_to_a_corner_and_nowhere_else():
    G = np.random.default_rng(2).standard_normal((3, 10)) * [[1e9], [1e10], [1e11]]
    weights = MoCo().decide(observe_rows(G)).coefficients
    assert sorted(weights) == [0.0, 0.0, 1.0]


def test_an_absent_task_keeps_its_average_and_its_share():
    strategy = MoCo(beta=0.5, gamma=1e-3)
    generator = np.random.default_rng(3)
    strategy.decide(observe_rows(generator.standard_normal((3, 10)), tasks=("a", "b", "c")))
    before = strategy.state_dict()
    decision = strategy.decide(observe_rows(generator.standard_normal((2, 10)), tasks=("c", "a")))
    after = strategy.state_dict()
    assert decision.coefficients.sum() == pytest.approx(1.0)
    assert after["weights"]["b"] == before["weights"]["b"]
    assert sum(after["weights"].values()) == pytest.approx(1.0)
    for name, average in before["averages"]["b"].items():
        assert torch.equal(after["averages"]["b"][name], average)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_averages_of_narrow_gradients_are_kept_in_float32(dtype):
    strategy = MoCo()
    for _ in range(3):
        decision = strategy.decide(observe_rows(np.random.default_rng(4).standard_normal((2, 10)), dtype=dtype))
    assert all(tensor.dtype is dtype for tensor in decision.direction)
    assert all(t.dtype is torch.float32 for t in strategy.state_dict()["averages"]["task_0"].values())
