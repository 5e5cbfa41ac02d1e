"""ConFIG: peers, the published pseudo-inverse, preferences, dependent gradients."""

import numpy as np
import pytest
from gradient_families import least_cosine, mixed_draws
from stateful_values import names, observe, peer_directions

from coral_mtl.engine.gradient_strategies.config_direction import ConFIG
from coral_mtl.engine.gradient_strategies.imtl_g import IMTLG
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import StrategyError


def direction_of(gradients, **options):
    return ConFIG(**options).decide(observe(gradients)).coefficients @ gradients


def units(gradients):
    return gradients / np.linalg.norm(gradients, axis=1, keepdims=True)


@pytest.mark.parametrize("value", peer_directions("ConFIG"), ids=lambda value: value.name)
def test_peers(value):
    scale = np.abs(value.direction).max()
    np.testing.assert_allclose(direction_of(value.gradients), value.direction, rtol=value.rtol, atol=1e-9 * scale)


@pytest.mark.parametrize("preference", [None, [1.0, 5.0, 0.1, 2.0]])
def test_the_published_formula_on_coordinates(preference):
    G = np.random.default_rng(0).standard_normal((4, 9)) * [[1.0], [100.0], [1e-3], [5.0]]
    wanted = np.ones(4) if preference is None else np.array(preference)
    u = np.linalg.pinv(units(G)) @ wanted
    u /= np.linalg.norm(u)
    options = {} if preference is None else {"preference": dict(zip(names(4), preference, strict=True))}
    np.testing.assert_allclose(direction_of(G, **options), (G @ u).sum() * u, rtol=1e-10)


def test_agreement_sums_up_and_conflict_shortens():
    np.testing.assert_allclose(direction_of(np.array([[1.0, 2.0]] * 3)), [3.0, 6.0], rtol=1e-12)
    close, far = (np.array([[1.0, s], [1.0, -s]]) for s in (0.1, 10.0))
    np.testing.assert_allclose(direction_of(close), [2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(direction_of(far), [2.0, 0.0], atol=1e-12)


def test_no_task_is_hurt_and_the_direction_is_that_of_imtl_g():
    for G in mixed_draws(200):
        found = ConFIG().decide(observe(G)).coefficients
        assert least_cosine(G, found) > 0.0
        a, b = found @ G, IMTLG().decide(observe(G)).coefficients @ G
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(1.0, abs=1e-12)


def test_the_pseudo_inverse_hurts_where_this_does_not():
    angles = np.deg2rad([0.0, 0.0, 80.0, 170.0])
    G = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert (G @ np.linalg.pinv(G) @ np.ones(4)).min() < -0.1
    decision = ConFIG().decide(observe(G))
    assert decision.solution.status is Status.FALLBACK
    assert least_cosine(G, decision.coefficients) > 0.0


def test_tasks_that_are_absent_leave_the_preference_of_the_others():
    G = np.random.default_rng(2).standard_normal((2, 5))
    strategy = ConFIG(preference={"a": 1.0, "b": 2.0, "c": 3.0})
    strategy.bind(["a", "b", "c"])
    projections = units(G) @ (strategy.decide(observe(G, tasks=("c", "a"))).coefficients @ G)
    assert projections[0] / projections[1] == pytest.approx(3.0)


@pytest.mark.parametrize("preference", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "x": 1.0}])
def test_a_preference_must_name_the_tasks(preference):
    with pytest.raises(StrategyError, match="ConFIG: preference must name exactly"):
        ConFIG(preference=preference).bind(["a", "b"])


def test_a_preference_must_be_positive():
    with pytest.raises(StrategyError, match="preference"):
        ConFIG(preference={"a": -1.0, "b": 1.0})
