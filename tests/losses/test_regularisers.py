import json
import math
from pathlib import Path

import pytest
import torch

from coral_mtl.errors import ConfigError
from coral_mtl.losses.regularisers import L1, L2, ElasticNet, Entropy, GroupLasso, Proximal, shrunk_group
from coral_mtl.registry import regularisers

PEER = json.loads((Path(__file__).parents[1] / "reference" / "constraints.json").read_text())["projections"]
EVERY = {
    "L1": L1(weight=0.3),
    "L2": L2(weight=0.3),
    "ElasticNet": ElasticNet(l1=0.3, l2=0.2),
    "GroupLasso": GroupLasso(weight=0.3),
    "Entropy": Entropy(weight=0.3),
}


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


def test_every_regulariser_is_here():
    assert sorted(EVERY) == regularisers.names()
    assert {name for name, one in EVERY.items() if isinstance(one, Proximal)} == {"L1", "ElasticNet", "GroupLasso"}


def test_penalties_by_hand():
    tensors = [exact([[3.0, -4.0]]), exact([12.0])]
    expected = {"L1": 0.3 * 19, "L2": 0.3 * 169, "ElasticNet": 0.3 * 19 + 0.2 * 169}
    for name, value in expected.items():
        assert EVERY[name].penalty(tensors).item() == pytest.approx(value)
    assert EVERY["GroupLasso"].penalty(tensors).item() == pytest.approx(0.3 * (math.sqrt(2) * 5 + 12))
    shares = [3 / 15, 12 / 15]
    negative_entropy = sum(p * math.log(p) for p in shares)
    assert EVERY["Entropy"].penalty(tensors).item() == pytest.approx(0.3 * negative_entropy)


@pytest.mark.parametrize("name", ["L1", "ElasticNet", "GroupLasso"])
def test_shrinking_is_the_proximal_map(name):
    """No nearby point, zero included, has a lower price plus distance."""
    regulariser, generator = EVERY[name], torch.Generator().manual_seed(0)
    for size in (0.05, 0.5, 1.0, 5.0):
        point = size * torch.randn(5, generator=generator, dtype=torch.float64)
        for step_size in (0.1, 1.0):

            def price(w, point=point, step_size=step_size):
                return step_size * regulariser.penalty([w]) + (w - point).square().sum() / 2

            best = regulariser.shrink(point, step_size)
            assert price(best) <= price(torch.zeros(5, dtype=torch.float64)) + 1e-12
            for _ in range(200):
                other = best + 10.0 ** -torch.randint(0, 6, (1,), generator=generator) * torch.randn(
                    5, generator=generator
                )
                assert price(best) <= price(other) + 1e-12


def test_shrinking_against_cvxpy():
    point = exact(PEER["y"])
    groups = [point[:3], point[3:]]
    close = {"rtol": 0.0, "atol": 1e-6}
    positive = L1(weight=0.25).shrink(point.clamp(min=0.0), 1.0)
    torch.testing.assert_close(positive, exact(PEER["l1_prox_0_25_nonnegative"]), **close)
    assert (positive == 0.0).sum() == 3
    shrunk = torch.cat([shrunk_group(group, 0.5) for group in groups])
    torch.testing.assert_close(shrunk, exact(PEER["group_prox_0_5"]), **close)
    shrunk = torch.cat([shrunk_group(group.clamp(min=0.0), 0.5) for group in groups])
    torch.testing.assert_close(shrunk, exact(PEER["group_prox_0_5_nonnegative"]), **close)
    as_used = torch.cat([GroupLasso(weight=0.5 / math.sqrt(3)).shrink(group, 1.0) for group in groups])
    torch.testing.assert_close(as_used, exact(PEER["group_prox_0_5"]), **close)


def test_shrinking_makes_zeros():
    assert torch.equal(L1(weight=1.0).shrink(exact([0.05, -0.05, 1.0]), 0.1), exact([0.0, 0.0, 0.9]))
    assert torch.equal(GroupLasso(weight=1.0).shrink(exact([0.1, -0.1]), 0.2), exact([0.0, 0.0]))
    assert torch.equal(GroupLasso(weight=1.0).shrink(exact([0.0, 0.0]), 0.2), exact([0.0, 0.0]))


@pytest.mark.parametrize("name", EVERY)
def test_gradients(name):
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1 for shape in ((2, 3), (4,))]
    assert torch.autograd.gradcheck(lambda *t: EVERY[name].penalty(t), [t.requires_grad_() for t in tensors])


def test_entropy_drives_towards_even_weights():
    w = exact([0.7, 0.2, 0.1]).requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.5)
    for _ in range(500):
        optimizer.zero_grad()
        Entropy(weight=1.0).penalty([w]).backward()
        optimizer.step()
    shares = w.detach() / w.detach().sum()
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3, dtype=torch.float64), rtol=0.0, atol=1e-4)
    assert Entropy(weight=1.0).penalty([w]).item() == pytest.approx(-math.log(3), abs=1e-6)


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 0.5, 0.0]])
def test_entropy_where_weights_are_not_above_zero(values):
    w = torch.tensor(values, requires_grad=True)
    value = Entropy(weight=1.0).penalty([w])
    (gradient,) = torch.autograd.grad(value, w)
    positive = [v for v in values if v > 0]
    expected = sum(v / sum(positive) * math.log(v / sum(positive)) for v in positive)
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert gradient.isfinite().all()
    if positive:
        assert gradient[values.index(0.0)] < 0.0  # descent raises what is at zero


@pytest.mark.parametrize("cls", [L1, L2, GroupLasso, Entropy])
def test_prices_are_not_negative(cls):
    with pytest.raises(ConfigError, match="weight"):
        cls(weight=-1.0)
