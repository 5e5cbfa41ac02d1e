"""Every strategy through the engine, with gradients of every floating-point type."""

import pytest
import torch
from every_strategy import CASES
from toy import Toy, batch

from coral_mtl.engine.engine import Engine

TASKS = ("task_0", "task_1", "task_2")
BITS = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.3, torch.float16: 0.1}
"""How far <g_t, d> may lie below zero, and coefficients apart from those of float64, as a share of |g_t| |d|."""

each = pytest.mark.parametrize("case", CASES, ids=repr)


def losses_of(model, dtype, seed, share=1.0):
    losses = model.losses(*batch(seed=seed, dtype=dtype))
    return {task: share * losses[task] / 10.0**index for index, task in enumerate(TASKS)}


def backward(case, dtype):
    model = Toy(TASKS, dtype=dtype)
    strategy = case.build(3)
    engine = Engine(strategy, model, tasks=TASKS)
    for part in range(strategy.batches):
        last = part == strategy.batches - 1
        step = engine.backward(
            losses_of(model, dtype, 1 + part, 1.0 / strategy.batches), accumulate=not last, measure=True
        )
    return model, strategy, step


@each
@pytest.mark.parametrize("dtype", BITS, ids=str)
def test_gradients_of_every_type(case, dtype):
    model, strategy, step = backward(case, dtype)
    assert step.skipped is None
    assert set(step.weights) == set(TASKS)
    for name, parameter in model.named_parameters():
        if not name.startswith("unused"):
            assert parameter.grad.dtype is dtype
            assert torch.isfinite(parameter.grad).all()
    assert step.update_norm > 0.0
    if strategy.promises.non_conflicting:
        for task in TASKS:
            assert step.descent[task] >= -BITS[dtype] * step.norms[task] * step.update_norm
