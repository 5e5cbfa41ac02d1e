"""IMTL: the direction of IMTL-G, with lengths and heads that follow learned loss scales."""

import numpy as np
import pytest
import torch
from stateful_values import names, observe, peer_directions, through_a_file

from coral_mtl import registry
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.imtl import IMTL
from coral_mtl.engine.gradient_strategies.imtl_g import IMTLG
from coral_mtl.errors import StrategyError


def bound(count, **options):
    strategy = IMTL(**options)
    strategy.bind(names(count))
    return strategy


@pytest.mark.parametrize("value", peer_directions("IMTL"), ids=lambda value: value.name)
def test_peer_at_equal_scales(value):
    strategy = bound(len(value.gradients))
    observation = observe(value.gradients, value.losses)
    decision = strategy.decide(observation)
    np.testing.assert_allclose(
        decision.coefficients @ value.gradients,
        value.direction,
        rtol=value.rtol,
        atol=1e-9 * np.abs(value.direction).max(),
    )
    slopes = [gradient.item() for _, gradient in strategy.parameter_gradients(observation)]
    np.testing.assert_allclose(slopes, value.extra["gradients_of_scales"], rtol=1e-9)


def test_scales_change_length_and_heads_and_not_the_direction():
    G = np.random.default_rng(0).standard_normal((3, 7))
    strategy = bound(3)
    strategy.load_state_dict(
        {
            "weighting": {"log_weights": dict(zip(names(3), [1.0, -2.0, 0.5], strict=True))},
            "strategy": IMTLG().state_dict(),
        }
    )
    decision = strategy.decide(observe(G))
    weights = np.exp([1.0, -2.0, 0.5])
    np.testing.assert_allclose(decision.head_coefficients, weights)
    above = IMTLG().decide(observe(weights[:, None] * G)).coefficients
    np.testing.assert_allclose(decision.coefficients, weights * above, rtol=1e-12)
    plain = IMTLG().decide(observe(G)).coefficients @ G
    found = decision.coefficients @ G
    np.testing.assert_allclose(found / np.linalg.norm(found), plain / np.linalg.norm(plain), rtol=1e-9)


def test_trained_scales_settle_at_one_over_the_loss():
    anchor = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    engine = Engine(IMTL(lr=0.3), [anchor], tasks=["left", "right"])
    optimizer = torch.optim.SGD([{"params": [anchor], "lr": 0.0}, *engine.parameter_groups()], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        step = engine.backward({"left": 0.5 + anchor.sum(), "right": 4.0 + 2 * anchor[0] - anchor[1]})
        optimizer.step()
    assert step.head_weights == pytest.approx({"left": 2.0, "right": 0.25}, rel=1e-6)
    assert set(step.records) == {"log_weights"}


def test_built_from_its_name_alone_with_the_options_of_both():
    assert registry.strategies.get("imtl") is IMTL
    strategy = bound(2, initial_log_weight=1.0, lr=0.1, clamp=2.0, update_frequency=3)
    assert strategy.update_frequency == 3
    assert [group["lr"] for group in strategy.parameter_groups()] == [0.1]
    assert strategy.decide(observe(np.eye(2))).head_coefficients == pytest.approx([np.e, np.e])
    with pytest.raises(StrategyError, match="clamp"):
        IMTL(clamp=0.0)


def test_resumes_from_a_file():
    generator = np.random.default_rng(1)
    whole, resumed = bound(3, update_frequency=2), IMTL(update_frequency=2)
    steps = [observe(generator.standard_normal((3, 5)), generator.uniform(1, 2, 3)) for _ in range(6)]
    for observation in steps[:3]:
        advance(whole, observation)
    resumed.load_state_dict(through_a_file(whole.state_dict()))
    for observation in steps[3:]:
        assert advance(resumed, observation) == advance(whole, observation)


def advance(strategy, observation):
    coefficients = strategy.decide(observation).coefficients.tolist()
    with torch.no_grad():
        for parameter, gradient in strategy.parameter_gradients(observation):
            parameter.sub_(0.1 * gradient)
    return coefficients
