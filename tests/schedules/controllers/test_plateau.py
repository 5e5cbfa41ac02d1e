"""The plateau controller against torch's, on the same sequences."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from coral_mtl.schedules.controllers import Plateau

SEQUENCES = {
    "plateau": [1.0, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7],
    "late gain": [1.0, 0.9, 0.95, 0.93, 0.88, 0.9, 0.91, 0.92, 0.8, 0.85, 0.85],
    "small gains": [1.0, 0.994, 0.988, 0.982, 0.976, 0.97, 0.964, 0.958],
}


def torch_factors(values, *, mode, factor, patience, min_delta, cooldown):
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    peer = ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=factor,
        patience=patience - 1,
        threshold=min_delta,
        threshold_mode="abs",
        cooldown=cooldown,
        eps=0.0,
    )
    found = []
    for value in values:
        peer.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("values", SEQUENCES.values(), ids=SEQUENCES.keys())
@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.01])
@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_factor_falls_where_torchs_does(values, patience, min_delta, cooldown, mode):
    values = values if mode == "min" else [-value for value in values]
    options = {"mode": mode, "factor": 0.1, "patience": patience, "min_delta": min_delta, "cooldown": cooldown}
    ours = Plateau(**options)
    found = []
    for value in values:
        ours.update(value)
        found.append(ours.factor)
    assert found == pytest.approx(torch_factors(values, **options))


def test_a_nan_is_no_progress_and_the_factor_has_a_floor():
    plateau = Plateau(mode="max", factor=0.5, patience=1, min_factor=0.2)
    fell = [plateau.update(value) for value in (1.0, math.nan, math.nan, math.nan, math.nan)]
    assert fell == [False, True, True, True, False]
    assert plateau.factor == 0.2


def test_its_state_goes_on_where_it_was():
    values = SEQUENCES["late gain"]
    whole, half = (Plateau(mode="min", factor=0.5, patience=2, cooldown=1) for _ in range(2))
    expected = [(whole.update(value), whole.factor) for value in values]
    found = [(half.update(value), half.factor) for value in values[:5]]
    resumed = Plateau(mode="min", factor=0.5, patience=2, cooldown=1)
    resumed.load_state_dict(half.state_dict())
    assert found + [(resumed.update(value), resumed.factor) for value in values[5:]] == expected
