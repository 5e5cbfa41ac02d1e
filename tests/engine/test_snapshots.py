"""Weights kept after certain epochs, and their mean prediction."""

import numpy as np
import pytest
import torch
from torch import nn

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.snapshots import Snapshots, mean_prediction


def test_the_mean_of_logits_is_that_of_probabilities():
    logits = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = mean_prediction("classification", list(logits))
    assert torch.allclose(mean.exp(), logits.softmax(dim=2).mean(dim=0), atol=1e-15)


def test_a_mean_of_probabilities_survives_logits_that_leave_the_range_of_an_exponential():
    confident = [torch.tensor([[1000.0, -1000.0]]), torch.tensor([[-1000.0, 1000.0]])]
    assert torch.allclose(mean_prediction("classification", confident).exp(), torch.tensor([[0.5, 0.5]]))


def test_judgements_average_distances_and_probabilities():
    judgements = torch.randn(4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = mean_prediction("judgement", list(judgements))
    assert torch.allclose(mean[:, :2], judgements[:, :, :2].mean(dim=0))
    assert torch.allclose(mean[:, 2].sigmoid(), judgements[:, :, 2].sigmoid().mean(dim=0), atol=1e-15)


@pytest.mark.parametrize("kind", ["regression", "polygon"])
def test_all_else_is_averaged_as_it_is(kind):
    values = torch.randn(3, 5, 4, 2)
    assert torch.equal(mean_prediction(kind, list(values)), values.mean(dim=0))


def _snapshots(epochs):
    model = nn.ModuleDict({"a": nn.Linear(2, 1, bias=False)})
    wrapped = _Linear(model)
    return wrapped, Snapshots(wrapped, {"a": TaskSpec("regression", 1)}, epochs)


class _Linear(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, inputs):
        return {task: head(inputs) for task, head in self.heads.items()}


def _set(model, value):
    with torch.no_grad():
        model.heads["a"].weight.fill_(value)


def test_the_ensemble_is_of_the_epochs_that_were_asked_for_and_of_the_present_weights():
    model, snapshots = _snapshots([1, 3])
    for epoch in (1, 2, 3):
        _set(model, float(epoch))
        snapshots.after_epoch(epoch)
    _set(model, 8.0)
    predicted = snapshots.ensemble()(torch.ones(1, 2))["a"]
    assert predicted.item() == pytest.approx(2 * (1 + 3 + 8) / 3)
    assert model.heads["a"].weight[0, 0] == 8.0, "the present weights are as they were"


def test_members_have_buffers_of_their_own_and_the_model_is_never_copied():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, inputs):
            self.seen = self.norm(inputs)  # what a graph has made refuses to be copied
            return {"a": self.seen[:, :1]}

    model = Normed()
    snapshots = Snapshots(model, {"a": TaskSpec("regression", 1)}, [1])
    model(torch.randn(8, 2))
    snapshots.after_epoch(1)
    model(torch.randn(8, 2) + 5.0)
    first, now = snapshots.state_dict()[1], model.state_dict()
    ensemble, inputs = snapshots.ensemble().eval(), torch.ones(1, 2)
    expected = [
        (1.0 - state["norm.running_mean"][0]) / (state["norm.running_var"][0] + 1e-5).sqrt() for state in (first, now)
    ]
    assert ensemble(inputs)["a"].item() == pytest.approx(sum(each.item() for each in expected) / 2, rel=1e-5)
    assert all(torch.equal(now[name], tensor) for name, tensor in model.state_dict().items())


def test_a_state_goes_through_a_file_and_leaves_out_epochs_that_a_fork_does_not_name(tmp_path):
    model, snapshots = _snapshots([1, 2])
    for epoch in (1, 2):
        _set(model, float(epoch))
        snapshots.after_epoch(epoch)
    torch.save(snapshots.state_dict(), tmp_path / "state.pt")
    other, fork = _snapshots([2, 5])
    fork.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    _set(other, 4.0)
    assert len(fork) == 1
    assert np.isclose(fork.ensemble()(torch.ones(1, 2))["a"].item(), 2 * (2 + 4) / 2)
