"""NTKMTL: equal largest eigenvalues of the weighted kernels."""

import numpy as np
import pytest
from stateful_values import observe

from coral_mtl.engine.gradient_strategies.ntkmtl import NTKMTL


def weights_of(gradients):
    return NTKMTL().decide(observe(gradients)).coefficients


def test_weighted_kernels_are_equal_and_keep_their_mean():
    G = np.random.default_rng(0).standard_normal((5, 8)) * np.logspace(-3, 3, 5)[:, None]
    eigenvalues = np.array([np.linalg.eigvalsh(g[None] @ g[None].T)[-1] for g in G])
    np.testing.assert_allclose(weights_of(G) ** 2 * eigenvalues, eigenvalues.mean(), rtol=1e-12)


def test_the_direction_is_the_sum_of_unit_gradients_at_their_root_mean_square():
    G = np.array([[3.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(weights_of(G) @ G, np.sqrt(12.5) * np.ones(2))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_gradients_of_one_length_are_summed_up(scale):
    np.testing.assert_allclose(weights_of(scale * np.eye(3)), np.ones(3), rtol=1e-14)


def test_scales_far_apart():
    G = np.diag([1e-12, 1.0, 1e12])
    np.testing.assert_allclose(weights_of(G) @ G, np.full(3, 1e12 / np.sqrt(3)), rtol=1e-12)
