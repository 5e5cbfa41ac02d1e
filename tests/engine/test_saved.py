"""What is kept for the backward pass is counted once, without the parameters."""

import torch
from torch import nn

from coral_mtl.engine.saved import SavedBytes


def test_saved_tensors_are_counted_by_storage():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))
    inputs = torch.randn(8, 10)
    with SavedBytes(model) as saved:
        loss = model(inputs).square().mean()
    outside = model(inputs)
    assert saved.total == 4 * (8 * 10 + 8 * 20 + 8)  # inputs, ReLU's output (which the second layer keeps too), outputs
    loss.backward()
    (outside.square().mean() - loss.detach()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
