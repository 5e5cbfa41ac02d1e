"""Equal, Static, Random, SI, GLS: closed forms, names, draws."""

import numpy as np
import pytest
import torch

from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.loss_weighting.gls import GLS
from coral_mtl.engine.loss_weighting.random import Random
from coral_mtl.engine.loss_weighting.si import SI
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError


def observe(**losses):
    return Observation(tuple(losses), np.array(list(losses.values()), dtype=float))


def test_equal_is_the_sum_or_the_mean():
    assert Equal().weigh(observe(a=1, b=2, c=3)).tolist() == [1.0, 1.0, 1.0]
    assert Equal(reduction="mean").weigh(observe(a=1, b=2, c=3, d=4)).tolist() == [0.25] * 4


def test_equal_refuses_another_reduction():
    with pytest.raises(StrategyError, match="reduction"):
        Equal(reduction="average")


def test_static_goes_by_name_and_bears_absent_tasks():
    strategy = Static(weights={"a": 1.0, "b": 0.25, "c": 0})
    strategy.bind(["c", "b", "a"])
    assert strategy.weigh(observe(c=1, a=1)).tolist() == [0.0, 1.0]


def test_static_names_both_sides_of_a_mismatch():
    strategy = Static(weights={"left": 1.0, "rihgt": 1.0})
    with pytest.raises(StrategyError, match=r"missing: right; unknown: rihgt") as caught:
        strategy.bind(["left", "right"])
    assert "named: left, rihgt" in str(caught.value)
    assert "tasks of this run: left, right" in str(caught.value)
    with pytest.raises(StrategyError, match="right"):
        strategy.weigh(observe(left=1, right=1))


@pytest.mark.parametrize("weights", [{"a": -1.0}, {"a": "much"}, {"a": float("nan")}, 3.0])
def test_static_refuses_what_is_no_weight(weights):
    with pytest.raises(StrategyError, match="weights"):
        Static(weights=weights)


def test_random_draws_the_softmax_of_normals_from_its_own_generator():
    torch.manual_seed(5)
    expected_global = torch.randn(3)
    torch.manual_seed(5)
    strategy = Random(seed=11)
    weights = [strategy.weigh(observe(a=1, b=1, c=1)) for _ in range(4)]
    assert torch.equal(torch.randn(3), expected_global), "the global generator moved"
    generator = torch.Generator().manual_seed(11)
    for drawn in weights:
        wanted = torch.softmax(torch.randn(3, generator=generator, dtype=torch.float64), 0)
        np.testing.assert_allclose(drawn, wanted, rtol=1e-14)


def test_random_weights_average_to_one_over_t():
    strategy = Random(seed=1)
    mean = np.mean([strategy.weigh(observe(a=1, b=1, c=1, d=1)) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, 0.25, atol=5 * 0.18 / np.sqrt(4000))


def test_logarithmic_weightings_do_not_see_the_scale_of_a_loss():
    """With l scaled by s, g is scaled by s as well: w g must stay (SI), up to the geometric mean (GLS)."""
    losses, scales = np.array([0.3, 4.0, 7.0]), np.array([1e-3, 1.0, 1e5])
    tasks = ("a", "b", "c")
    si = [SI().weigh(Observation(tasks, losses * s)) * s for s in (1.0, scales)]
    np.testing.assert_allclose(si[0], si[1], rtol=1e-13)
    gls = [GLS().weigh(Observation(tasks, losses * s)) * s for s in (1.0, scales)]
    np.testing.assert_allclose(gls[1] / gls[0], np.cbrt(scales.prod()), rtol=1e-13)


def test_gls_is_the_gradient_of_the_geometric_mean_without_overflow():
    losses = torch.tensor([1.5, 0.2, 3.0], dtype=torch.float64, requires_grad=True)
    losses.prod().pow(1 / 3).backward()
    tasks = ("a", "b", "c")
    np.testing.assert_allclose(GLS().weigh(Observation(tasks, losses.detach().numpy())), losses.grad, rtol=1e-13)
    many = Observation(tuple(map(str, range(64))), np.full(64, 1e200))
    np.testing.assert_allclose(GLS().weigh(many), 1 / 64, rtol=1e-10)


def test_epsilon_bounds_the_weight_of_a_vanished_loss():
    assert SI(epsilon=1e-3).weigh(observe(a=0, b=1)).tolist() == [1e3, 1.0]
    np.testing.assert_allclose(GLS(epsilon=1e-4).weigh(observe(a=0, b=1)), [1e-2 / 2e-4, 1e-2 / 2], rtol=1e-13)
