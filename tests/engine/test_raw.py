"""Strategies that see the gradients' coordinates: whole, by batch, by group of parameters."""

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from toy import Toy, batch, clear, gram_of, plain_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.observation import Decision, Needs
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.errors import StrategyError


class Largest(GradientStrategy):
    """d_k = the coordinate of largest absolute value: no combination of the rows."""

    needs = Needs.ROWS

    def solve(self, observation):
        rows = observation.require_rows()
        stacked = [
            torch.stack(column) for column in zip(*map(rows.gradients, range(len(observation.tasks))), strict=True)
        ]
        direction = [g.gather(0, g.abs().argmax(0, keepdim=True))[0] for g in stacked]
        return Decision(np.zeros(len(observation.tasks)), direction=direction)


class TwoBatches(GradientStrategy):
    """Remembers what it is shown."""

    needs = Needs.ROWS
    batches = 2

    def solve(self, observation):
        self.rows = observation.require_rows()
        self.seen = {
            "cross": self.rows.cross_gram(0, 1),
            "whole": self.rows.cross_gram(),
            "half": self.rows.cross_gram(None, 1),
            "gram": observation.gram,
            "groups": self.rows.group_grams([range(2), range(2, len(self.rows.names))]),
            "second": self.rows.gradients(1, batch=1),
        }
        return Decision(np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("scale", [None, 2.0**16])
def test_a_direction_of_its_own(scale):
    model = Toy()
    losses = model.losses(*batch())
    rows = [plain_gradients(model, loss) for loss in losses.values()]
    names = [n for n, _ in model.named_parameters() if n.startswith("trunk")]
    scaler = None if scale is None else GradScaler("cpu", init_scale=scale)
    step = Engine(Largest(), model).backward(losses, scaler=scaler)
    direction = []
    for name in names:
        g = torch.stack([row[name] for row in rows])
        direction.append(g.gather(0, g.abs().argmax(0, keepdim=True))[0])
        torch.testing.assert_close(model.get_parameter(name).grad, direction[-1] * (scale or 1.0))
    flat = torch.cat([d.reshape(-1) for d in direction])
    matrix = torch.stack([torch.cat([row[n].reshape(-1) for n in names]) for row in rows])
    assert step.update_norm == pytest.approx(flat.norm().item(), rel=1e-12)
    assert list(step.descent.values()) == pytest.approx((matrix @ flat).tolist(), rel=1e-11)
    nearest = torch.linalg.lstsq(matrix.T, flat[:, None]).solution[:, 0]
    assert list(step.weights.values()) == pytest.approx(nearest.tolist(), rel=1e-8)
    head = rows[0]["heads.a.0.weight"] * (scale or 1.0)
    torch.testing.assert_close(model.heads["a"][0].weight.grad, head)


@pytest.mark.parametrize("scale", [None, 2.0**16])
def test_independent_batches(scale):
    model = Toy()
    strategy = TwoBatches()
    engine = Engine(strategy, model)
    scaler = None if scale is None else GradScaler("cpu", init_scale=scale)
    data = batch(seed=1), batch(seed=2)
    for part in range(2):
        losses = {t: loss / 2 for t, loss in model.losses(*data[part]).items()}
        engine.backward(losses, accumulate=part == 0, scaler=scaler)
    names = [n for n, _ in model.named_parameters() if n.startswith("trunk")]

    def matrix(which):
        rows = [plain_gradients(model, loss) for loss in model.losses(*data[which]).values()]
        return torch.stack([torch.cat([row[n].reshape(-1) for n in names]) for row in rows])

    clear(model)
    first, second = matrix(0), matrix(1)
    whole = (first + second) / 2
    seen = strategy.seen
    assert seen["cross"] == pytest.approx((first @ second.T).numpy(), rel=1e-11)
    assert seen["whole"] == pytest.approx((whole @ whole.T).numpy(), rel=1e-11)
    assert seen["gram"] == pytest.approx((whole @ whole.T).numpy(), rel=1e-11)
    assert seen["half"] == pytest.approx((whole @ second.T).numpy(), rel=1e-11)
    assert sum(seen["groups"]) == pytest.approx((whole @ whole.T).numpy(), rel=1e-11)
    torch.testing.assert_close(torch.cat([g.reshape(-1) for g in seen["second"]]), second[1])


def test_too_few_batches_are_told():
    model = Toy()
    with pytest.raises(StrategyError, match="needs 2 independent batches a step and was given 1"):
        Engine(TwoBatches(), model).backward(model.losses(*batch()))


def test_the_gram_matrix_of_groups_is_that_of_autograd():
    model = Toy()
    strategy = TwoBatches()
    engine = Engine(strategy, model)
    for part in range(2):
        engine.backward({t: v / 2 for t, v in model.losses(*batch()).items()}, accumulate=part == 0)
    names = strategy.rows.names
    assert strategy.seen["groups"][0] == pytest.approx(gram_of(model, model.losses(*batch()), names[:2]), rel=1e-11)


def test_raw_strategies_are_not_stacked():
    from toy import Fixed

    with pytest.raises(StrategyError, match="cannot be stacked"):
        Stack(Fixed({}), Largest())
