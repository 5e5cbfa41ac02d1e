"""Mixed precision on networks with normalisation layers, and float64: the direction is that of their gradients."""

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from toy import InverseNorm, clear

from coral_mtl.engine.engine import Engine

NORMS = {
    "layer": lambda: nn.LayerNorm([8, 6, 6]),
    "batch": lambda: nn.BatchNorm2d(8),
    "group": lambda: nn.GroupNorm(2, 8),
}


class Net(nn.Module):
    """Two convolutions with a normalisation between them, and a dense head per task."""

    def __init__(self, norm, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), NORMS[norm](), nn.GELU(), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten()
        )
        self.heads = nn.ModuleDict({task: nn.Linear(64, 5) for task in "abc"})
        self.to(dtype)

    def losses(self, inputs, targets):
        features = self.trunk(inputs)
        return {
            task: nn.functional.cross_entropy(head(features).float() * 3.0**-place, targets)
            for place, (task, head) in enumerate(self.heads.items())
        }


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 3, 6, 6, generator=generator, dtype=dtype), torch.arange(16) % 5


def gradients(losses, model):
    """Each task's gradients by name, from autograd; the graph of the losses stays."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = {
        task: torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for task, loss in losses.items()
    }
    return {task: dict(zip(names, row, strict=True)) for task, row in found.items()}


def direction(rows, weights):
    """sum_t c_t g_t by name; a head's parameters have their own gradient."""
    total = {}
    for task, row in rows.items():
        for name, gradient in row.items():
            if gradient is not None:
                factor = 1.0 if name.startswith("heads") else weights[task]
                total[name] = total.get(name, 0.0) + gradient * factor
    return total


def distance(found, wanted):
    """|found - wanted| / |wanted| over all parameters together."""
    difference = sum((found[name] - wanted[name]).square().sum() for name in wanted)
    return float(difference.sqrt() / sum(part.square().sum() for part in wanted.values()).sqrt())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["auto", "ghost"])
def test_the_direction_is_that_of_the_gradients_of_the_same_graph(norm, dtype, form):
    """Refresh and reuse, in the size of a plain backward: the scale is on `.grad` until the scaler takes it off."""
    model, data = Net(norm), batch()
    scaler = GradScaler("cpu", init_scale=2.0**16) if dtype is torch.float16 else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    engine = Engine(InverseNorm(update_frequency=2), model, rows=form)
    for refreshed in (True, False, True):
        clear(model)
        with torch.autocast("cpu", dtype=dtype):
            losses = model.losses(*data)
        rows = gradients(losses, model)
        step = engine.backward(losses, scaler=scaler)
        assert step.refreshed is refreshed
        if scaler is not None:
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        wanted = direction(rows, step.weights)
        found = {name: parameter.grad for name, parameter in model.named_parameters()}
        assert all(gradient.dtype is torch.float32 for gradient in found.values())
        assert distance(found, wanted) <= (2e-3 if dtype is torch.float16 else 1e-2)


@pytest.mark.parametrize("norm", NORMS)
def test_a_decision_under_a_scaler_is_that_without(norm):
    data = batch()
    steps = []
    for scaler in (None, GradScaler("cpu", init_scale=2.0**12)):
        model = Net(norm)
        engine = Engine(InverseNorm(), model)
        steps.append(engine.backward(model.losses(*data), scaler=scaler))
    plain, scaled = steps
    assert scaled.gram == pytest.approx(plain.gram, rel=1e-6)
    assert scaled.weights == pytest.approx(plain.weights, rel=1e-6)


def test_an_overflow_in_one_task_under_float16():
    """The step is skipped, the scale is halved, the strategy has not moved; the next step is taken."""
    model, data = Net("batch"), batch()
    scaler, optimizer = GradScaler("cpu", init_scale=2.0**8), torch.optim.SGD(model.parameters(), lr=0.1)
    engine = Engine(InverseNorm(update_frequency=2), model)
    for refreshed in (True, False):
        for overflow in (True, False):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                losses = model.losses(*data)
            if overflow:
                losses["b"] = losses["b"] * 1e37
            before, state, scale = [p.clone() for p in model.parameters()], engine.state_dict(), scaler.get_scale()
            step = engine.backward(losses, scaler=scaler)
            scaler.step(optimizer)
            scaler.update()
            moved = any(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
            assert moved is not overflow
            assert scaler.get_scale() == (scale / 2 if overflow else scale)
            if overflow:
                assert "task 'b'" in step.skipped or "gradient" in step.skipped
                assert engine.state_dict()["strategy"] == state["strategy"]
            else:
                assert step.refreshed is refreshed


@pytest.mark.parametrize("norm", NORMS)
def test_float64_models_are_exact(norm):
    model, data = Net(norm, torch.float64), batch(torch.float64)
    engine = Engine(InverseNorm(update_frequency=2), model)
    for _ in range(2):
        clear(model)
        step = engine.backward(model.losses(*data))
        wanted = direction(gradients(model.losses(*data), model), step.weights)
        assert distance({name: p.grad for name, p in model.named_parameters()}, wanted) <= 1e-12
