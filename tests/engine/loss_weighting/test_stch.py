"""STCH: gradients of its objectives by autograd, warm-up, nadir, preferences, limits."""

import numpy as np
import pytest
import torch

from coral_mtl.engine.loss_weighting.stch import STCH
from coral_mtl.engine.observation import Observation
from coral_mtl.errors import StrategyError

TASKS = ("a", "b", "c")
LOSSES = np.array([0.4, 2.0, 7.0])
NADIR = {"a": 1.0, "b": 1.0, "c": 10.0}
PREFERENCE = {"a": 2, "b": 1, "c": 1}


def weigh(strategy, losses=LOSSES, tasks=TASKS):
    return strategy.weigh(Observation(tasks, np.array(losses, dtype=float)))


@pytest.mark.parametrize("preference", [None, PREFERENCE])
@pytest.mark.parametrize("mu", [0.05, 1.0, 20.0])
def test_weights_are_the_gradient_of_the_objective(preference, mu):
    p = torch.tensor([1 / 3] * 3 if preference is None else [0.5, 0.25, 0.25], dtype=torch.float64)
    losses = torch.tensor(LOSSES, requires_grad=True)
    (mu * torch.logsumexp(p * losses / mu, 0)).backward()
    np.testing.assert_allclose(weigh(STCH(on="losses", mu=mu, preference=preference)), losses.grad, rtol=1e-12)
    losses.grad = None
    ratios = (losses / torch.tensor(list(NADIR.values()), dtype=torch.float64)).log()
    (3 * mu * torch.logsumexp(3 * p * ratios / mu, 0)).backward()
    np.testing.assert_allclose(weigh(STCH(nadir=NADIR, mu=mu, preference=preference)), losses.grad, rtol=1e-12)


def test_small_mu_takes_the_worst_task_alone_without_overflow():
    np.testing.assert_allclose(weigh(STCH(on="losses", mu=1e-300)), [0, 0, 1 / 3])
    np.testing.assert_allclose(weigh(STCH(nadir=NADIR, mu=1e-300)), [0, 3 / 2.0, 0])


def test_warm_up_then_the_mean_of_one_epoch_is_the_nadir():
    strategy = STCH(warmup_epochs=2)
    for epoch in range(3):
        for factor in (1.0, 3.0):
            np.testing.assert_allclose(weigh(strategy, LOSSES * factor), 1 / (LOSSES * factor), rtol=1e-14)
        strategy.end_epoch()
        assert bool(strategy.state_dict()["nadir"]) == (epoch == 2)
    assert strategy.state_dict()["nadir"] == pytest.approx(dict(zip(TASKS, 2 * LOSSES, strict=True)))
    np.testing.assert_allclose(weigh(strategy), 1 / LOSSES, rtol=1e-12)  # equal ratios: T softmax = 1
    strategy.end_epoch()
    assert strategy.state_dict()["nadir"] == pytest.approx(dict(zip(TASKS, 2 * LOSSES, strict=True)))


def test_a_task_that_comes_late_is_warmed_up_by_itself():
    strategy = STCH(warmup_epochs=0)
    weigh(strategy, [1.0, 1.0], ("a", "b"))
    strategy.end_epoch()
    weights = weigh(strategy, [2.0, 1.0, 0.5])
    assert weights[2] == 2.0
    np.testing.assert_allclose(weights[:2], 2 * np.array([2.0, 1.0]) / 3.0 / [2.0, 1.0], rtol=1e-14)
    strategy.end_epoch()
    assert strategy.state_dict()["nadir"] == {"a": 1.0, "b": 1.0, "c": 0.5}


def test_options_that_would_have_no_effect_are_errors():
    with pytest.raises(StrategyError, match="warmup_epochs has no effect"):
        STCH(nadir=NADIR, warmup_epochs=3)
    with pytest.raises(StrategyError, match="nadir has no effect"):
        STCH(on="losses", nadir=NADIR)


def test_names_are_checked():
    with pytest.raises(StrategyError, match="nadir must name"):
        STCH(nadir=NADIR).bind(["a", "b"])
    with pytest.raises(StrategyError, match="preference"):
        weigh(STCH(on="losses", preference={"a": 1.0}))
