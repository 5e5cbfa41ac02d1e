"""MoDo: peers' sequences, both batches, the way to the min-norm point."""

import numpy as np
import pytest
from gradient_families import relative_difference
from stateful_values import observe_rows, peer_sequences

from coral_mtl.engine.gradient_strategies.modo import MoDo
from coral_mtl.engine.solvers.min_norm import min_norm


@pytest.mark.parametrize("sequence", peer_sequences("MoDo", ""), ids=lambda sequence: sequence.name)
def test_sequences_of_peers(sequence):
    strategy = MoDo(**sequence.params)
    for first, second, third, step in zip(
        sequence.gradients, sequence.second, sequence.third, sequence.steps, strict=True
    ):
        coefficients = strategy.decide(observe_rows(first, second)).coefficients
        np.testing.assert_allclose(coefficients, step.get("lambd", step.get("weights")), rtol=1e-9, atol=1e-12)
        if "direction" in step:
            np.testing.assert_allclose(coefficients @ third, step["direction"], rtol=1e-9, atol=1e-9)


def test_equal_batches_lead_to_the_min_norm_point():
    G = np.random.default_rng(0).standard_normal((4, 10)) + 0.2
    strategy = MoDo(gamma=0.02, rho=0.0)
    for _ in range(4000):
        coefficients = strategy.decide(observe_rows(G, G)).coefficients
    assert relative_difference(coefficients @ G, min_norm(G @ G.T).weights @ G) <= 1e-6


def test_one_step_is_unbiased_where_one_batch_twice_is_not():
    """Gradients of mean zero: E[G_1 G_2'] = 0 leaves the weights, E[G G'] = diag(10, 40) moves them by 7.5 gamma."""
    generator = np.random.default_rng(1)
    weights = []
    for _ in range(2000):
        first, second = generator.standard_normal((2, 2, 10)) * [[[1.0], [2.0]]]
        weights.append(MoDo(gamma=1e-3, rho=0.0).decide(observe_rows(first, second)).coefficients[0])
    spread = np.std(weights) / np.sqrt(len(weights))
    assert abs(np.mean(weights) - 0.5) < 4 * spread
    assert 4 * spread < 7.5e-3 / 5


def test_an_absent_task_keeps_its_share():
    strategy = MoDo(gamma=0.01)
    generator = np.random.default_rng(2)
    strategy.decide(observe_rows(*generator.standard_normal((2, 3, 10)), tasks=("a", "b", "c")))
    share = strategy.state_dict()["weights"]["b"]
    coefficients = strategy.decide(observe_rows(*generator.standard_normal((2, 2, 10)), tasks=("c", "a"))).coefficients
    assert coefficients.sum() == pytest.approx(1.0)
    weights = strategy.state_dict()["weights"]
    assert weights["b"] == share
    assert weights["c"] == pytest.approx(coefficients[0] * (1 - share))


def test_a_new_task_enters_with_an_equal_share():
    strategy = MoDo(gamma=1e-300)
    G = np.random.default_rng(3).standard_normal((3, 10))
    strategy.decide(observe_rows(G[:2], G[:2], tasks=("a", "b")))
    coefficients = strategy.decide(observe_rows(G, G, tasks=("a", "b", "c"))).coefficients
    np.testing.assert_allclose(coefficients, np.full(3, 1 / 3))


def test_tasks_that_hold_nothing_are_alike_when_they_are_alone():
    strategy = MoDo()
    strategy.load_state_dict({"steps": 3, "cached": {}, "weights": {"a": 1.0, "b": 0.0, "c": 0.0}})
    G = np.zeros((2, 10))
    G[:, :2] = 1e-3 * np.eye(2)
    coefficients = strategy.decide(observe_rows(G, G, tasks=("b", "c"))).coefficients
    np.testing.assert_allclose(coefficients, [0.5, 0.5])
