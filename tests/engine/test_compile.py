"""Compiled trunks and compiled models: the numbers of the eager ones, or a message that names the setting."""

import shutil

import pytest
import torch
from torch import nn
from toy import InverseNorm, Toy, assert_gradients, batch, clear, expected_gradients

from coral_mtl.engine.engine import Engine
from coral_mtl.errors import StrategyError

INDUCTOR = pytest.param(
    "inductor",
    marks=[pytest.mark.slow, pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")],
)


@pytest.fixture(autouse=True)
def _forget_compiled_code():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.parametrize("whole", [False, True])
def test_compiled_equals_eager(backend, whole):
    model, eager, data = Toy(), Toy(), batch()
    compiled = torch.compile(model if whole else model.trunk, backend=backend)

    def losses():
        outputs = compiled(data[0])
        outputs = outputs if whole else {task: head(outputs) for task, head in model.heads.items()}
        return {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(outputs.items())}

    engine = Engine(InverseNorm(update_frequency=3), model)
    for index in range(5):
        clear(model)
        step = engine.backward(losses())
        assert step.refreshed is (index % 3 == 0)
        plain = {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(eager(data[0]).items())}
        assert_gradients(model, expected_gradients(eager, plain, step.weights))
    assert engine.shared_parameters() == [name for name, _ in model.named_parameters() if name.startswith("trunk")]


@pytest.mark.parametrize("backend", [INDUCTOR])
def test_donated_buffers_are_explained(backend):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU())
    heads = nn.ModuleDict({task: nn.Linear(64, 1) for task in "ab"})
    compiled, inputs = torch.compile(trunk, backend=backend), torch.randn(64, 32)

    def losses():
        features = compiled(inputs)
        return {task: head(features).square().mean() for task, head in heads.items()}

    sum(losses().values()).backward()
    engine = Engine(InverseNorm(), nn.ModuleList([trunk, heads]))
    with pytest.raises(StrategyError, match="donated_buffer = False"):
        engine.backward(losses())
    with torch._functorch.config.patch(donated_buffer=False):
        torch._dynamo.reset()
        compiled = torch.compile(trunk, backend=backend)
        sum(losses().values()).backward()
        assert engine.backward(losses()).skipped is None
