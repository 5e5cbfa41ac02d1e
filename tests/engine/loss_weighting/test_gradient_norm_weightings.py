"""GradNorm and GradientNormalised: what the weights do to the norms, scales, refreshes."""

import numpy as np
import pytest
import torch

from coral_mtl.engine.loss_weighting.gradient_normalised import GradientNormalised
from coral_mtl.engine.loss_weighting.gradnorm import GradNorm, gradnorm_slopes
from coral_mtl.engine.observation import Needs, Observation

TASKS = ("a", "b", "c")


def observe(norms, losses=(1.0, 1.0, 1.0), tasks=TASKS):
    return Observation(tasks, np.array(losses, dtype=float), np.diag(np.square(norms)))


def test_slopes_are_those_of_autograd():
    generator = np.random.default_rng(0)
    for _ in range(20):
        w, n, r = generator.uniform(0.1, 3.0, (3, 5))
        weights = torch.tensor(w, requires_grad=True)
        sizes = weights * torch.tensor(n)
        (sizes - sizes.detach().mean() * torch.tensor(r) ** 1.5).abs().sum().backward()
        np.testing.assert_allclose(gradnorm_slopes(w, n, r, 1.5), weights.grad, rtol=1e-14)


def test_one_gradnorm_step_in_closed_form():
    strategy = GradNorm(alpha=0.5, lr=0.1)
    norms, losses = np.array([1.0, 2.0, 6.0]), [1.0, 2.0, 4.0]
    assert strategy.decide(observe(norms, losses)).coefficients.tolist() == [1.0, 1.0, 1.0]
    # equal rates, mean 3: the first two lie below the target, the third above
    moved = np.exp(0.1 * np.array([1.0, 2.0, -6.0]) / 3.0)
    first = 3 * moved / moved.sum()
    np.testing.assert_allclose(strategy.decide(observe(norms, [0.5, 2.0, 1.0])).coefficients, first, rtol=1e-14)
    rates = np.array([0.5, 1.0, 0.25]) / np.mean([0.5, 1.0, 0.25])
    sizes = first * norms
    second = first * np.exp(-0.1 * np.sign(sizes - sizes.mean() * rates**0.5) * sizes / sizes.mean())
    np.testing.assert_allclose(
        strategy.decide(observe(norms, losses)).coefficients, 3 * second / second.sum(), rtol=1e-14
    )


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_gradnorm_equalises_norms_at_every_scale(ratio, scale):
    strategy = GradNorm(alpha=0.0, lr=0.05)
    norms = scale * np.array([1.0, ratio, np.sqrt(ratio)])
    for _ in range(1500):
        weights = strategy.decide(observe(norms)).coefficients
        assert (weights > 0).all()
        assert weights.sum() == pytest.approx(3.0, rel=1e-12)
    sizes = weights * norms
    assert sizes.max() / sizes.min() < np.exp(4 * 0.05), "within the step length of the sign rule"


def test_gradnorm_gives_more_to_the_task_that_learns_slowly():
    strategy = GradNorm(alpha=1.5)
    strategy.decide(observe([1.0, 1.0, 1.0]))
    for _ in range(50):
        weights = strategy.decide(observe([1.0, 1.0, 1.0], [0.9, 0.5, 0.1])).coefficients
    assert weights[0] > weights[1] > weights[2]


def test_gradnorm_keeps_the_weights_of_absent_and_silent_tasks():
    strategy = GradNorm(lr=0.1)
    for _ in range(5):
        before = strategy.decide(observe([1.0, 5.0, 0.2])).coefficients
    before = dict(zip(TASKS, strategy.decide(observe([1.0, 5.0, 0.2])).coefficients, strict=True))
    strategy.decide(observe([3.0, 1.0], [1.0, 1.0], ("c", "a")))
    strategy.decide(observe([3.0, 0.0, 1.0], [1.0, 1.0, 1.0]))
    after = dict(zip(TASKS, strategy.decide(observe([1.0, 5.0, 0.2])).coefficients, strict=True))
    assert sum(after.values()) == pytest.approx(3.0, rel=1e-12)
    assert after["a"] != before["a"]


@pytest.mark.parametrize("build", [GradNorm, GradientNormalised])
def test_between_refreshes_the_weights_stay_and_cost_nothing(build):
    strategy = build(update_frequency=3)
    generator = np.random.default_rng(0)
    refreshed, weights = [], []
    for _ in range(9):
        assert strategy.needs_now(TASKS) is (Needs.GRAM if len(refreshed) % 3 == 0 else Needs.NOTHING)
        observation = observe(generator.uniform(0.1, 9.0, 3))
        if strategy.needs_now(TASKS) is Needs.NOTHING:
            observation = Observation(TASKS, observation.losses)
        decision = strategy.decide(observation)
        refreshed.append(decision.refreshed)
        weights.append(decision.coefficients.tolist())
    assert refreshed == [True, False, False] * 3
    assert weights[4] == weights[5]
    assert weights[1] == weights[2] != weights[4]


def test_a_task_never_seen_forces_a_refresh():
    strategy = GradNorm(update_frequency=10)
    strategy.decide(observe([1.0, 2.0], [1.0, 1.0], ("a", "b")))
    assert strategy.needs_now(("a", "b")) is Needs.NOTHING
    assert strategy.needs_now(("a", "c")) is Needs.GRAM


def test_gradient_normalised_makes_the_norms_equal():
    norms = np.array([1e-6, 1.0, 1e5])
    one = GradientNormalised(reference="one", max_weight=1e9)
    np.testing.assert_allclose(one.decide(observe(norms)).coefficients * norms, 1.0, rtol=1e-12)
    kept = GradientNormalised(max_weight=1e9)
    np.testing.assert_allclose(kept.decide(observe(norms)).coefficients * norms, np.cbrt(norms.prod()), rtol=1e-12)


def test_gradient_normalised_averages_in_the_log_and_skips_what_is_zero():
    strategy = GradientNormalised(beta=0.9, reference="one")
    history = [2.0, 8.0, 0.0, 4.0]
    for norm in history:
        weight = strategy.decide(observe([norm, 1.0, 1.0])).coefficients[0]
    logs = np.log([2.0, 8.0, 4.0])
    average = np.average(logs, weights=[0.9**2, 0.9, 1.0])
    assert weight == pytest.approx(np.exp(-average), rel=1e-13)


def test_gradient_normalised_bounds_the_weight():
    strategy = GradientNormalised(reference="one", max_weight=50.0)
    assert strategy.decide(observe([1e-9, 1.0, 2.0])).coefficients.tolist() == pytest.approx([50.0, 1.0, 0.5])
