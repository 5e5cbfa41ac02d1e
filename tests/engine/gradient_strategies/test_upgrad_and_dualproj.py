"""UPGrad and DualProj as strategies: preferences, promises."""

import numpy as np
import pytest
from gradient_families import SOLVABLE, draws, least_cosine, mixed_draws, relative_difference
from stateful_values import names, observe

from coral_mtl.engine.gradient_strategies.dualproj import DualProj
from coral_mtl.engine.gradient_strategies.upgrad import UPGrad
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.errors import StrategyError

STRATEGIES = {"UPGrad": UPGrad, "DualProj": DualProj}
each = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


def direction(strategy, gradients, **options):
    return strategy(**options).decide(observe(gradients)).coefficients @ gradients


def shares_of(values):
    return dict(zip(names(len(values)), values, strict=True))


@each
def test_without_conflict_nothing_is_projected(strategy):
    gradients = draws(SOLVABLE[1], 4, 1)[0]
    np.testing.assert_allclose(direction(strategy, gradients), gradients.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(direction(strategy, gradients, reduction="sum"), gradients.sum(axis=0), rtol=1e-12)
    preference = shares_of([1.0, 2.0, 3.0, 4.0])
    expected = np.array([0.1, 0.2, 0.3, 0.4]) @ gradients
    np.testing.assert_allclose(direction(strategy, gradients, preference=preference), expected, rtol=1e-12)
    found = direction(strategy, gradients, preference=preference, reduction="sum")
    np.testing.assert_allclose(found, 4.0 * expected, rtol=1e-12)


def test_preferences_under_conflict():
    gradients = draws(SOLVABLE[6], 3, 1)[0]
    shares, gram = np.array([0.7, 0.2, 0.1]), gradients @ gradients.T
    projections = [dual_cone(gram, row[None, :]).weights @ gradients for row in np.eye(3)]
    found = direction(UPGrad, gradients, preference=shares_of(shares.tolist()))
    assert relative_difference(found, shares @ projections) <= 1e-10
    found = direction(DualProj, gradients, preference=shares_of(shares.tolist()))
    assert relative_difference(found, dual_cone(gram, shares[None, :]).weights @ gradients) <= 1e-10


@each
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_task_is_hurt(strategy, reduction):
    for gradients in mixed_draws(200):
        coefficients = strategy(reduction=reduction).decide(observe(gradients)).coefficients
        assert least_cosine(gradients, coefficients) >= -1e-9
        assert (coefficients >= 0.0).all()


@each
def test_wrong_preferences_are_named(strategy):
    with pytest.raises(StrategyError, match=r"preference\.task_0 = -1\.0"):
        strategy(preference={"task_0": -1.0})
    with pytest.raises(StrategyError, match=f"{strategy.__name__}: preference must name exactly"):
        strategy(preference={"task_0": 1.0}).bind(["task_0", "task_1"])
    with pytest.raises(StrategyError, match="nothing is known about"):
        strategy(preference={"somebody": 1.0}).decide(observe(np.eye(2)))
