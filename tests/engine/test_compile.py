"""Compiled trunks and compiled models: the numbers of the eager ones, or a message that names the setting."""

import shutil

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
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


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.parametrize("whole", [False, True])
def test_a_run_that_resumes_with_a_reuse_step(backend, whole):
    """The first backward pass through the compiled graph is a single one: right numbers, or the setting's name."""
    model, eager, data = Toy(), Toy(), batch()
    before = Engine(InverseNorm(update_frequency=3), eager)

    def graded(outputs):
        return {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(outputs.items())}

    weights = before.backward(eager.losses(*data)).weights

    def resumed():
        compiled = torch.compile(model if whole else model.trunk, backend=backend)
        engine = Engine(InverseNorm(update_frequency=3), model)
        engine.load_state_dict(before.state_dict())
        for index in range(1, 5):
            clear(model)
            outputs = compiled(data[0])
            outputs = outputs if whole else {task: head(outputs) for task, head in model.heads.items()}
            step = engine.backward(
                {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(outputs.items())}
            )
            assert step.refreshed is (index == 3)
            assert index >= 3 or step.weights == weights
            assert_gradients(model, expected_gradients(eager, graded(eager(data[0])), step.weights))

    refused = ""
    try:
        resumed()
    except StrategyError as error:
        refused = str(error)
    if refused:
        assert "donated_buffer = False" in refused
        torch._dynamo.reset()
        with torch._functorch.config.patch(donated_buffer=False):
            resumed()


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_compiled_trunk_with_checkpointing(reentrant):
    model, eager, data = Toy(), Toy(), batch()
    compiled = torch.compile(model.trunk, backend="aot_eager")
    engine = Engine(InverseNorm(update_frequency=2), model)
    inputs = data[0].clone().requires_grad_(reentrant)
    for _ in range(3):
        clear(model)
        features = checkpoint(compiled, inputs, use_reentrant=reentrant)
        losses = {task: head(features).square().mean() for task, head in model.heads.items()}
        step = engine.backward(losses)
        plain = {task: out.square().mean() for task, out in eager(data[0]).items()}
        assert_gradients(model, expected_gradients(eager, plain, step.weights))


def test_compiled_heads_behind_features():
    """One graph of all heads returns zeros for those that a task does not reach, which are not that task's."""
    model, eager, data = Toy(), Toy(), batch()
    compiled = torch.compile(lambda z: {task: head(z) for task, head in model.heads.items()}, backend="aot_eager")
    engine = Engine(InverseNorm(update_frequency=2), model, gram_on="features")
    for _ in range(2):
        clear(model)
        features = model.trunk(data[0])
        losses = {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(compiled(features).items())}
        step = engine.backward(losses, features=features)
        plain = {task: (i + 1) * out.square().mean() for i, (task, out) in enumerate(eager(data[0]).items())}
        assert_gradients(model, expected_gradients(eager, plain, step.weights))
    assert not step.refreshed
    wanted = {
        task: [f"heads.{task}.{name}" for name, _ in head.named_parameters()] for task, head in model.heads.items()
    }
    assert engine.task_parameters() == wanted
