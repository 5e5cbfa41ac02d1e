"""Gram matrices by tiles, and combination in place."""

import numpy as np
import pytest
import torch
from toy import InverseNorm, Toy, assert_gradients, batch, expected_gradients

from coral_mtl.engine import gram as module
from coral_mtl.engine.engine import Engine, backward
from coral_mtl.engine.gram import gram_matrix
from coral_mtl.engine.rows import combine, is_finite, narrow


def random_rows(shapes, tasks=3, *, dtype=torch.float64, scale=1.0, missing=()):
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.empty(shape, dtype=dtype) for shape in shapes]
    rows = [
        {
            p: (torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale).to(dtype)
            for i, p in enumerate(parameters)
            if (task, i) not in missing
        }
        for task in range(tasks)
    ]
    return parameters, rows


def exact_gram(parameters, rows):
    flat = np.stack(
        [
            np.concatenate([row[p].double().numpy().ravel() if p in row else np.zeros(p.numel()) for p in parameters])
            for row in rows
        ]
    )
    return flat @ flat.T


def scaled_error(gram, exact):
    """Largest error of a cosine: |M - M*|_st / (n_s n_t)."""
    norms = np.sqrt(np.diag(exact))
    return np.abs((gram - exact) / np.outer(norms, norms)).max()


SHAPES = [(3,), (70_000,), (5, 7), (300, 500), (1,), (40_000,), (30_000,)]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-15), (torch.float32, 1e-7), (torch.bfloat16, 1e-6)])
def test_gram_by_tiles(dtype, bound):
    parameters, rows = random_rows(SHAPES, dtype=dtype)
    exact = exact_gram(parameters, rows)
    gram, precision = gram_matrix(rows, parameters)
    assert scaled_error(gram, exact) <= 2 * bound
    assert precision == bound
    assert (gram == gram.T).all()
    assert np.linalg.eigvalsh(gram)[0] >= -1e-6 * np.trace(gram)


def test_gram_of_parameters_that_some_tasks_do_not_reach():
    parameters, rows = random_rows(SHAPES, missing={(0, 1), (1, 1), (2, 3), (0, 0)})
    gram, _ = gram_matrix(rows, parameters)
    assert gram == pytest.approx(exact_gram(parameters, rows), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e-12, 1e12, 1e21, 1e30])
def test_gram_beyond_the_range_of_float32_squares(scale):
    parameters, rows = random_rows([(200,), (30, 40)], dtype=torch.float32, scale=scale)
    exact = exact_gram(parameters, rows)
    gram, _ = gram_matrix(rows, parameters)
    assert scaled_error(gram, exact) <= 1e-7


def test_gram_of_channels_last_and_complex_gradients():
    generator = torch.Generator().manual_seed(0)
    image = torch.empty(8, 3, 5, 5)
    phase = torch.empty(6, dtype=torch.complex64)
    rows = [
        {
            image: torch.randn(8, 3, 5, 5, generator=generator).to(memory_format=torch.channels_last),
            phase: torch.randn(6, dtype=torch.complex64, generator=generator),
        }
        for _ in range(2)
    ]
    gram, _ = gram_matrix(rows, [image, phase])
    wanted = (rows[0][image] * rows[1][image]).sum() + (rows[0][phase].conj() * rows[1][phase]).sum().real
    assert gram[0, 1] == pytest.approx(wanted.item(), rel=1e-5)


def test_tile_size_does_not_matter(monkeypatch):
    parameters, rows = random_rows(SHAPES)
    one, _ = gram_matrix(rows, parameters)
    monkeypatch.setattr(module, "TILE", 1000)
    other, _ = gram_matrix(rows, parameters)
    assert one == pytest.approx(other, rel=1e-13)


def test_combine_by_owner():
    parameters, rows = random_rows([(4,), (5,), (6,)], tasks=3, missing={(0, 1), (2, 1), (0, 2)})
    wanted = {
        0: 2 * rows[0][parameters[0]] - 3 * rows[1][parameters[0]] + 0 * rows[2][parameters[0]],
        1: 10.0 * rows[1][parameters[1]],
        2: -3 * rows[1][parameters[2]],
    }
    direction = combine(rows, {parameters[0], parameters[2]}, [2.0, -3.0, 0.0], [1.0, 10.0, 1.0])
    for index, gradient in wanted.items():
        torch.testing.assert_close(direction[parameters[index]], gradient)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_finite_is_judged_by_the_entries(dtype):
    large = torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite({torch.empty(0): large, torch.empty(1): torch.zeros(3)})
    for bad in (float("nan"), float("inf"), float("-inf")):
        broken = large.clone()
        broken[7] = bad
        assert not is_finite({torch.empty(0): torch.zeros(3), torch.empty(1): broken})
    assert is_finite({})


def test_rows_of_complex_gradients_are_held_as_they_are():
    phase, weight = (torch.ones(3, dtype=kind, requires_grad=True) for kind in (torch.complex64, torch.float32))
    row = {phase: torch.full((3,), 1 + 2j, dtype=torch.complex64), weight: torch.ones(3)}
    narrowed = narrow(row, {phase, weight}, torch.bfloat16)
    assert narrowed[phase].dtype is torch.complex64
    assert narrowed[weight].dtype is torch.bfloat16


def test_leaves_whose_gradients_share_their_memory():
    """Autograd hands both the same one; multiplied in place, it would be multiplied twice."""
    one, two, third = (torch.ones(2, 3, requires_grad=True) for _ in range(3))
    losses = {
        "a": ((one.view(-1) + two.view(-1)) * torch.arange(6.0)).sum() + third.sum(),
        "b": 2 * (one + two + third).square().sum(),
    }
    step = backward(losses, InverseNorm())
    rows = [torch.arange(6.0).view(2, 3), torch.full((2, 3), 12.0)]
    wanted = sum(weight * row for weight, row in zip(step.weights.values(), rows, strict=True))
    torch.testing.assert_close(one.grad, wanted)
    torch.testing.assert_close(two.grad, wanted)


@pytest.mark.parametrize("name", ["dtype", "device"])
def test_defaults_of_torch_do_not_matter(name):
    model, data = Toy(dtype=torch.float32), batch(dtype=torch.float32)
    losses = model.losses(*data)
    change, before, other = {
        "dtype": (torch.set_default_dtype, torch.get_default_dtype(), torch.float64),
        "device": (torch.set_default_device, None, "meta"),
    }[name]
    change(other)
    try:
        step = Engine(InverseNorm(), model).backward(losses)
    finally:
        change(before)
    assert not step.skipped
    assert_gradients(model, expected_gradients(model, model.losses(*data), step.weights), rtol=1e-4)
