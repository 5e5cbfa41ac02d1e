"""Aligned-MTL: certified directions, orthogonal gradients of equal length, rank, smoothing, preferences."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, mixed_draws, relative_difference
from stateful_values import exact_directions, names, observe, peer_directions

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.aligned_mtl import AlignedMTL
from coral_mtl.errors import StrategyError

MODES = ("min", "median", "rmse")


def decide(gradients, precision=2.3e-16, **options):
    return AlignedMTL(**options).decide(observe(gradients, precision=precision))


@pytest.mark.parametrize("value", exact_directions("AlignedMTL"), ids=lambda value: value.name)
def test_certified_directions(value):
    found = decide(value.gradients, reduction="sum", **value.options).coefficients @ value.gradients
    assert relative_difference(found, value.direction) <= 1e-9


@pytest.mark.parametrize("value", peer_directions("AlignedMTL"), ids=lambda value: value.name)
def test_peers(value):
    found = decide(value.gradients, **value.options).coefficients @ value.gradients
    assert relative_difference(found, value.direction) <= value.rtol


@pytest.mark.parametrize("mode", MODES)
def test_the_aligned_gradients_are_orthogonal_and_equally_long(mode):
    """The preference e_i reads off row i of B: the aligned gradient of task i."""
    G = np.random.default_rng(0).standard_normal((4, 9)) * [[1.0], [3.0], [0.1], [10.0]]
    tiny = 1e-13
    rows = []
    for i in range(4):
        preference = {name: 1.0 if name == names(4)[i] else tiny for name in names(4)}
        rows.append(decide(G, scale_mode=mode, preference=preference).coefficients @ G)
    gram = np.array(rows) @ np.array(rows).T
    eigenvalues = np.linalg.eigvalsh(G @ G.T)
    squared = {"min": eigenvalues[0], "median": eigenvalues[1], "rmse": eigenvalues.mean()}[mode]
    np.testing.assert_allclose(gram, squared * np.eye(4), atol=1e-9 * squared)


def test_the_condition_and_the_rank_are_recorded():
    G = np.diag([1.0, 2.0, 8.0])
    assert decide(G).records == pytest.approx({"aligned_rank": 3, "aligned_condition": 8.0})
    assert decide(np.vstack([G, G[:1]])).records["aligned_rank"] == 3


def test_a_small_task_is_no_rounding():
    """Its eigenvalue is 1e-12 of the largest: far below the float32 rounding of that one, not of its own."""
    G = np.random.default_rng(1).standard_normal((3, 50)) * [[1.0], [1.0], [1e-6]]
    decision = decide(G, precision=1e-7)
    assert decision.records["aligned_rank"] == 3
    exact = decide(G).coefficients @ G
    assert relative_difference(decision.coefficients @ G, exact) <= 1e-12


def test_rounding_is_no_task():
    G = np.random.default_rng(2).standard_normal((3, 50))
    G[2] = G[0] + 1e-5 * G[2]
    assert decide(G, precision=1e-7).records["aligned_rank"] == 2
    assert decide(G).records["aligned_rank"] == 3


@pytest.mark.parametrize("mode", MODES)
def test_smoothing_has_no_edge(mode):
    G = np.random.default_rng(3).standard_normal((3, 20))
    directions = []
    for distance in (0.0, 1e-15, 1e-13, 1e-11, 1e-9):
        nearly = np.vstack([G, G[:1] + distance * np.ones(20)])
        directions.append(decide(nearly, scale_mode=mode, smoothing=1e-4).coefficients @ nearly)
    for other in directions[1:]:
        assert relative_difference(other, directions[0]) <= 1e-7


def test_smoothing_is_the_inverse_root_of_the_shifted_matrix():
    G = np.random.default_rng(4).standard_normal((4, 9))
    values, vectors = np.linalg.eigh(G @ G.T)
    shifted = values + 0.1 * values[-1]
    B = np.sqrt(shifted[0]) * vectors @ np.diag(shifted**-0.5) @ vectors.T
    np.testing.assert_allclose(decide(G, smoothing=0.1, reduction="sum").coefficients, B @ np.ones(4), rtol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("smoothing", [0.0, 0.01])
def test_the_mean_loss_falls_and_a_common_scale_does_not_matter(mode, smoothing):
    for G in mixed_draws(60) + draws(SOLVABLE[3], 6, 3):
        options = {"scale_mode": mode, "smoothing": smoothing}
        direction = decide(G, **options).coefficients @ G
        assert direction @ G.mean(axis=0) > 0.0
        assert relative_difference(decide(1e9 * G, **options).coefficients @ G, direction) <= 1e-9


def test_conventions():
    np.testing.assert_allclose(decide(np.eye(4)).coefficients, np.full(4, 0.25))
    np.testing.assert_allclose(decide(np.eye(4), reduction="sum").coefficients, np.ones(4))
    np.testing.assert_allclose(decide(np.array([[3.0, 4.0]])).coefficients, [1.0])


def test_preferences_are_shares():
    preference = dict(zip(names(3), [1.0, 2.0, 5.0], strict=True))
    np.testing.assert_allclose(decide(np.eye(3), preference=preference).coefficients, [0.125, 0.25, 0.625])
    total = decide(np.eye(3), preference=preference, reduction="sum").coefficients
    np.testing.assert_allclose(total, [0.375, 0.75, 1.875])
    assert not AlignedMTL(preference=preference).promises.descends_mean
    with pytest.raises(StrategyError, match="must name exactly the tasks"):
        AlignedMTL(preference=preference).bind(["task_0"])


def test_names():
    assert registry.strategies.get("aligned_mtl") is AlignedMTL
    assert registry.strategies.name_of(AlignedMTL) == "Aligned-MTL"
