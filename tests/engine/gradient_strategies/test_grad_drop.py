"""GradDrop: peers with recorded uniforms, leaks, frequencies, randomness of its own."""

import numpy as np
import pytest
import torch
from stateful_values import flat, observe_rows, peer_directions

from coral_mtl.engine.gradient_strategies.grad_drop import GradDrop, drop_signs
from coral_mtl.errors import StrategyError


def with_uniforms(strategy, uniforms):
    """Have the strategy take the uniforms that a peer drew."""

    def recorded(tensors):
        pieces = torch.tensor(uniforms, dtype=torch.float64).split([t.numel() for t in tensors])
        return [piece.reshape(t.shape) for piece, t in zip(pieces, tensors, strict=True)]

    strategy._uniforms = recorded
    return strategy


@pytest.mark.parametrize("value", peer_directions("GradDrop"), ids=lambda value: value.name)
def test_recorded_uniforms_give_the_recorded_directions(value):
    strategy = with_uniforms(GradDrop(**value.options), value.extra["uniforms"])
    found = flat(strategy.decide(observe_rows(value.gradients)).direction)
    np.testing.assert_allclose(found, value.direction, rtol=value.rtol, atol=value.atol)


def test_a_coordinate_keeps_one_sign():
    gradients = [torch.tensor([3.0, -1.0, 2.0, 0.0]), torch.tensor([-1.0, -1.0, 5.0, 0.0])]
    low, high = (drop_signs(gradients, torch.full((4,), u), [0.0, 0.0]) for u in (0.74, 0.76))
    assert low.tolist() == [3.0, -2.0, 7.0, 0.0], "P = 3/4 in the first coordinate"
    assert high.tolist() == [-1.0, -2.0, 7.0, 0.0]
    for u in (0.0, 1.0 - 2**-24):
        sure = drop_signs([torch.tensor([-1.0, 1.0])], torch.full((2,), u), [0.0])
        assert sure.tolist() == [-1.0, 1.0], "a sign that all share is always kept"


def test_signs_are_kept_as_often_as_their_share():
    strategy = GradDrop(reduction="sum", seed=3)
    shapes = {"weight": (20000,)}
    G = np.array([[3.0] * 20000, [-1.0] * 20000])
    direction = flat(strategy.decide(observe_rows(G, shapes=shapes)).direction)
    assert set(direction) == {3.0, -1.0}
    assert (direction == 3.0).mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 20000))


def test_leaks_pass_in_any_case():
    gradients = [torch.tensor([3.0]), torch.tensor([-1.0])]
    assert drop_signs(gradients, torch.tensor([0.1]), [0.0, 0.25]).tolist() == [2.75]
    assert drop_signs(gradients, torch.tensor([0.9]), [0.5, 0.25]).tolist() == [0.5]
    G = np.random.default_rng(0).standard_normal((3, 10))
    full = GradDrop(leak=dict.fromkeys(("task_0", "task_1", "task_2"), 1.0))
    np.testing.assert_allclose(flat(full.decide(observe_rows(G)).direction), G.mean(axis=0), rtol=1e-12)


def test_a_leak_of_no_task_is_told():
    with pytest.raises(StrategyError, match="leak names x"):
        GradDrop(leak={"x": 0.5}).bind(["a", "b"])
    with pytest.raises(StrategyError, match="leak"):
        GradDrop(leak={"a": 1.5})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_types_are_decided_in_float32(dtype):
    G = np.array([[1.0] * 10, [-0.5] * 10])
    direction = GradDrop(reduction="sum").decide(observe_rows(G, dtype=dtype)).direction
    assert all(tensor.dtype is dtype for tensor in direction)
    assert set(flat(direction)) <= {1.0, -0.5}


def test_draws_anew_at_every_step_from_a_generator_of_its_own():
    G = np.random.default_rng(1).standard_normal((4, 10))

    def run(seed):
        strategy = GradDrop(seed=seed)
        return [flat(strategy.decide(observe_rows(G)).direction).tolist() for _ in range(3)]

    torch.manual_seed(0)
    first = run(5)
    torch.manual_seed(1)
    assert run(5) == first
    assert first[0] != first[1]
    assert run(6) != first


def test_the_gradients_are_left_as_they_are():
    observation = observe_rows(np.random.default_rng(2).standard_normal((3, 10)))
    before = [flat(observation.rows.gradients(i)).tolist() for i in range(3)]
    GradDrop().decide(observation)
    assert [flat(observation.rows.gradients(i)).tolist() for i in range(3)] == before
