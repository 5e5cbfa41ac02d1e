import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.linear_map import LinearMap


def test_it_is_linear_and_takes_unit_vectors_to_its_weights():
    model = LinearMap((5, 3), {"votes": TaskSpec("regression", 5)})
    assert [name for name, _ in model.named_parameters()] == ["maps.votes.weight"]
    rows = torch.randn(2, 5, 3)
    torch.testing.assert_close(model(rows)["votes"], rows.sum(dim=2))
    with torch.no_grad():
        model.maps["votes"].weight.copy_(torch.tensor([[0.1, 0.0, -0.3]]))
    assert torch.equal(model(torch.eye(3)[None])["votes"][0], torch.tensor([0.1, 0.0, -0.3]))


@pytest.mark.parametrize(
    ("shape", "task"),
    [
        ((5, 3, 2), TaskSpec("regression", 5)),
        ((5, 3), TaskSpec("regression", 3)),
        ((5, 3), TaskSpec("classification", 5)),
    ],
)
def test_data_that_do_not_fit(shape, task):
    with pytest.raises(ConfigError, match="LinearMap takes items of rows"):
        LinearMap(shape, {"a": task})
