"""IMTL-G: certified directions, the classical formula, no flip, dependent gradients."""

import numpy as np
import pytest
from gradient_families import least_cosine, mixed_draws, relative_difference
from stateful_values import exact_directions, observe, peer_directions

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.imtl_g import IMTLG
from coral_mtl.engine.gradient_strategies.mgda import MGDA
from coral_mtl.engine.solvers.solution import Status


def decide(gradients):
    return IMTLG().decide(observe(gradients))


def direction_of(gradients):
    return decide(gradients).coefficients @ gradients


def units(gradients):
    return gradients / np.linalg.norm(gradients, axis=1, keepdims=True)


@pytest.mark.parametrize("value", exact_directions("IMTLG"), ids=lambda value: value.name)
def test_certified_directions(value):
    assert relative_difference(direction_of(value.gradients), value.direction) <= 1e-9


@pytest.mark.parametrize("value", peer_directions("IMTLG"), ids=lambda value: value.name)
def test_peers(value):
    np.testing.assert_allclose(direction_of(value.gradients), value.direction, rtol=value.rtol, atol=1e-9)


def test_the_classical_formula():
    """alpha_2.. = g_1 U' (D U')^-1 with D_i = g_1 - g_i and U_i = u_1 - u_i, alpha_1 = 1 - sum."""
    for seed in range(20):
        G = np.random.default_rng(seed).standard_normal((5, 30))
        U = units(G)[:1] - units(G)[1:]
        rest = G[0] @ U.T @ np.linalg.inv((G[:1] - G[1:]) @ U.T)
        np.testing.assert_allclose(decide(G).coefficients, [1 - rest.sum(), *rest], rtol=1e-9, atol=1e-12)


def flipping():
    """Gradients whose published weights v / sum(v) point against all of them."""
    generator = np.random.default_rng(0)
    while True:
        G = generator.standard_normal((3, 4)) + generator.standard_normal(4)
        G *= np.array([1.0, 30.0, 1.0])[:, None] / np.linalg.norm(G, axis=1, keepdims=True)
        v = np.linalg.solve(G @ G.T, np.linalg.norm(G, axis=1))
        if v.sum() < 0:
            return G, v


def test_never_flips():
    G, v = flipping()
    published = v / v.sum() @ G
    assert (units(G) @ published < 0).all()
    projections = units(G) @ direction_of(G)
    assert (projections > 0).all()
    np.testing.assert_allclose(projections, projections[0], rtol=1e-9)
    assert np.linalg.norm(direction_of(G)) <= np.linalg.norm(G, axis=1).max() * (1 + 1e-12)


def test_weights_that_cancel_do_not_blow_the_direction_up():
    """sum(v) = 0 exactly at the scale where the second gradient's share takes up that of the first."""
    angle = np.array([[1.0, 0.0], [np.cos(0.3), np.sin(0.3)], [np.cos(0.6), np.sin(0.6)]])
    G = np.hstack([angle, 0.2 * np.eye(3)])
    y = np.linalg.solve(units(G) @ units(G).T, np.ones(3))
    assert y.min() < 0
    norms = np.ones(3)
    norms[y.argmin()] = -y.min() / (y.sum() - y.min())
    G = norms[:, None] * units(G)
    length = np.linalg.norm(direction_of(G))
    assert length == pytest.approx(np.linalg.norm(G, axis=1).max(), rel=1e-9)
    projections = units(G) @ direction_of(G)
    np.testing.assert_allclose(projections, projections[0], rtol=1e-9)
    assert projections[0] > 0


def test_two_tasks_get_the_bisector():
    G = np.array([[3.0, 0.0], [0.0, 1e-5]])
    direction = direction_of(G)
    np.testing.assert_allclose(direction / np.linalg.norm(direction), [0.5**0.5, 0.5**0.5], rtol=1e-12)


def test_no_task_is_hurt_and_scales_do_not_matter():
    for G in mixed_draws(300):
        coefficients = decide(G).coefficients
        assert least_cosine(G, coefficients) > 0.0
        scales = 10.0 ** np.random.default_rng(len(G)).uniform(-9, 9, (len(G), 1))
        scaled = direction_of(scales * G)
        expected = coefficients @ G
        cosine = scaled @ expected / np.linalg.norm(scaled) / np.linalg.norm(expected)
        assert cosine == pytest.approx(1.0, abs=1e-9)


def test_duplicates_share_the_weight_of_one():
    G = np.random.default_rng(1).standard_normal((3, 8))
    twice = decide(np.vstack([G, G[:1]]))
    assert twice.solution.status is Status.SOLVED
    np.testing.assert_allclose(twice.coefficients @ np.vstack([G, G[:1]]), direction_of(G), rtol=1e-9, atol=1e-12)
    assert twice.coefficients[0] == pytest.approx(twice.coefficients[3], rel=1e-9)


def test_more_tasks_than_dimensions_get_the_direction_of_normalised_mgda():
    G = np.random.default_rng(2).standard_normal((6, 3)) + 2.0
    decision = decide(G)
    assert decision.solution.status is Status.FALLBACK
    fair = MGDA(normalization="l2").decide(observe(G)).coefficients @ G
    direction = decision.coefficients @ G
    np.testing.assert_allclose(direction / np.linalg.norm(direction), fair / np.linalg.norm(fair), atol=1e-9)
    assert decision.coefficients.sum() == pytest.approx(1.0)


def test_opposite_gradients_cancel():
    decision = decide(np.array([[1.0, 2.0], [-3.0, -6.0]]))
    assert decision.solution.status is Status.STATIONARY
    assert decision.coefficients.tolist() == [0.0, 0.0]


def test_one_task_is_left_alone():
    np.testing.assert_allclose(decide(np.array([[3.0, 4.0]])).coefficients, [1.0])


def test_names():
    assert registry.strategies.get("imtl_g") is IMTLG
    assert registry.strategies.name_of(IMTLG) == "IMTL-G"
