"""What a step may cost: peak memory, passes, and the precision of the Gram matrix at eleven million parameters."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import InverseNorm, clear

from coral_mtl.bench.memory import peak_bytes
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gram import gram_matrix

CPU = torch.device("cpu")
WIDTH, LAYERS, SAMPLES = 768, 6, 16
SIZE = LAYERS * WIDTH * (WIDTH + 1)


class Net(nn.Module):
    """Dense layers, and a head per task."""

    def __init__(self, tasks):
        super().__init__()
        torch.manual_seed(0)
        layers = [part for _ in range(LAYERS) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList([nn.Linear(WIDTH, 1) for _ in range(tasks)])

    def losses(self, inputs):
        features = self.trunk(inputs)
        return {f"task_{place}": (head(features) - place).square().mean() for place, head in enumerate(self.heads)}


def peaks(tasks, **options):
    """The peak of plain training, and of a step in the middle of training with our engine."""
    model, inputs = Net(tasks), torch.randn(SAMPLES, WIDTH)
    clear(model)
    plain = peak_bytes(lambda: sum(model.losses(inputs).values()).backward(), CPU)
    engine = Engine(InverseNorm(**{"update_frequency": options.pop("update_frequency", 1)}), model, **options)
    for _ in range(3):
        clear(model)
        engine.backward(model.losses(inputs))
    clear(model)
    return plain, peak_bytes(lambda: engine.backward(model.losses(inputs)), CPU)


@pytest.mark.parametrize("tasks", [2, 7])
def test_stored_rows_are_all_that_is_added_to_plain_training(tasks):
    """No copy of a row, no flat buffer, no second direction."""
    plain, ours = peaks(tasks, rows="stored")
    assert ours <= 1.05 * (plain + (tasks - 1) * SIZE * 4)


def test_rows_in_bfloat16_take_half():
    plain, ours = peaks(20, rows="stored", row_dtype=torch.bfloat16)
    assert ours <= 1.05 * (plain + 19 * SIZE * 2) + SIZE * 4  # one row is combined in float32


def test_ghost_rows_stay_near_plain_training():
    plain, ours = peaks(20, rows="ghost")
    assert ours <= 3 * plain
    assert ours < plain + 3 * SIZE * 4


def test_a_reuse_step_takes_what_plain_training_takes():
    plain, ours = peaks(20, update_frequency=100)
    assert ours <= 1.02 * plain


def test_features_take_no_row_of_the_trunk():
    model, inputs = Net(20), torch.randn(SAMPLES, WIDTH)
    plain, _ = peaks(20)
    engine = Engine(InverseNorm(), model, gram_on="features")

    def step():
        features = model.trunk(inputs)
        engine.backward(
            {str(i): (head(features) - i).square().mean() for i, head in enumerate(model.heads)}, features=features
        )

    clear(model)
    assert peak_bytes(step, CPU) <= 1.3 * plain


@pytest.mark.slow
@pytest.mark.parametrize("products", ["highest", "medium"])
def test_the_gram_matrix_of_eleven_million_parameters(products):
    """Nearly parallel gradients of norms six decades apart: a float32 product is indefinite here, ours is not."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.empty(size) for size in (7_000_000, 3_999_999, 1_000, 63)]
    common = [torch.randn(p.shape, generator=generator) for p in parameters]
    rows = [
        {
            p: (c + 1e-3 * torch.randn(p.shape, generator=generator)) * 10.0**place
            for p, c in zip(parameters, common, strict=True)
        }
        for place in (-3, 0, 3)
    ]
    exact = np.zeros((3, 3))
    for p in parameters:
        flat = torch.stack([row[p].double() for row in rows])
        exact += (flat @ flat.T).numpy()
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(products)
    try:
        gram, precision = gram_matrix(rows, parameters)
    finally:
        torch.set_float32_matmul_precision(allowed)
    norms = np.sqrt(np.diag(exact))
    assert np.abs(gram - exact).max() / np.abs(exact).max() <= 2e-6
    assert (np.abs(gram - exact) / np.outer(norms, norms)).max() <= precision
    normalised = gram / np.outer(norms, norms)
    assert np.linalg.eigvalsh(normalised)[0] >= -1e-6 * np.trace(normalised)
