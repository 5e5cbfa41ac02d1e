"""SDMGrad: peers step by step, the strength of the pull, scales, preferences."""

import numpy as np
import pytest
from gradient_families import relative_difference
from stateful_values import names, observe_rows, peer_sequences

from coral_mtl.engine.gradient_strategies.sdmgrad import SDMGrad, descend_on_simplex
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.errors import StrategyError

LIBMTL, TORCHJD = peer_sequences("SDMGrad", "LibMTL"), peer_sequences("SDMGrad", "torchjd")


def batches_of(sequence, k):
    """The two batches that the peer's matrix came from, and the one that its direction did."""
    if "LibMTL" in sequence.name:
        return sequence.second[k], sequence.third[k], sequence.gradients[k]
    return sequence.gradients[k], sequence.second[k], None


def weights_of(sequence, step, tasks):
    strength = sequence.params["lamda"]
    return np.array(step["w"]) if "w" in step else (1 + strength) * np.array(step["weights"]) - strength / tasks


@pytest.mark.parametrize("sequence", LIBMTL + TORCHJD, ids=lambda sequence: sequence.name)
def test_steps_of_peers(sequence):
    """From the peer's last weights: the iteration multiplies rounding errors by thousands. Peers add 1e-8 to s^2."""
    params, tasks = sequence.params, len(sequence.gradients[0])
    before = np.full(tasks, 1 / tasks)
    offset = np.full(tasks, params["lamda"] / tasks)
    for k, step in enumerate(sequence.steps):
        first, second, third = batches_of(sequence, k)
        matrix = first @ second.T
        scale = np.mean(np.sqrt(np.maximum(matrix.diagonal(), 0.0)))
        found = descend_on_simplex(
            matrix / (scale**2 + 1e-8),
            before,
            offset,
            lr=params["lr"],
            momentum=params["momentum"],
            iterations=params["niter"],
        )
        before = weights_of(sequence, step, tasks)
        np.testing.assert_allclose(found, before, rtol=1e-9, atol=1e-9)
        if third is not None:
            coefficients = (found + offset) / (1 + params["lamda"])
            np.testing.assert_allclose(coefficients @ third, step["direction"], rtol=1e-9, atol=1e-9)


def test_the_strategy_normalises_the_matrix_and_remembers_the_weights():
    generator = np.random.default_rng(0)
    strategy = SDMGrad(lr=0.5, iterations=7, momentum=0.3, strength=0.6)
    weights, offset = np.full(3, 1 / 3), np.full(3, 0.2)
    for _ in range(5):
        first, second = generator.standard_normal((2, 3, 10)) + 0.5
        matrix = first @ second.T
        scale = np.mean(np.sqrt(np.maximum(matrix.diagonal(), 0.0)))
        weights = descend_on_simplex(matrix / scale**2, weights, offset, lr=0.5, momentum=0.3, iterations=7)
        found = strategy.decide(observe_rows(first, second)).coefficients
        np.testing.assert_allclose(found, (weights + offset) / 1.6, rtol=1e-9)


def test_without_a_pull_it_is_mgda_and_with_a_strong_one_the_mean():
    G = np.random.default_rng(1).standard_normal((4, 10)) + 0.3
    free, pulled = SDMGrad(strength=0.0, lr=0.1), SDMGrad(strength=1e9, lr=1e-9)
    for _ in range(300):
        coefficients = free.decide(observe_rows(G, G)).coefficients
    assert relative_difference(coefficients @ G, min_norm(G @ G.T).weights @ G) <= 1e-6
    np.testing.assert_allclose(pulled.decide(observe_rows(G, G)).coefficients, np.full(4, 0.25), rtol=1e-6)


def test_a_common_scale_does_not_matter():
    first, second = np.random.default_rng(2).standard_normal((2, 3, 10)) + 0.5
    found = [SDMGrad().decide(observe_rows(s * first, s * second)).coefficients for s in (1e-12, 1.0, 1e12)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[2], found[1], atol=1e-6)


def test_noise_alone_leaves_the_weights():
    G = np.random.default_rng(3).standard_normal((3, 10))
    np.testing.assert_allclose(SDMGrad().decide(observe_rows(G, -0.5 * G)).coefficients, np.full(3, 1 / 3))


def test_a_preference_is_what_is_pulled_to():
    G = np.random.default_rng(4).standard_normal((2, 10))
    strategy = SDMGrad(strength=1e9, lr=1e-12, preference={"task_0": 3.0, "task_1": 1.0})
    strategy.bind(names(2))
    np.testing.assert_allclose(strategy.decide(observe_rows(G, G)).coefficients, [0.75, 0.25], rtol=1e-6)
    with pytest.raises(StrategyError, match="SDMGrad: preference must name exactly"):
        strategy.bind(["other"])
