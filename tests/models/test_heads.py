import math

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.heads import VertexHead, head
from coral_mtl.models.shared_trunk import SharedTrunk


def test_vertices_start_as_the_polygon_around_the_whole_image():
    model = SharedTrunk((1, 16, 16), {"outline": TaskSpec("polygon", 8), "kind": TaskSpec("classification", 3)})
    predictions = model(torch.rand(5, 1, 16, 16))
    assert predictions["kind"].shape == (5, 3)
    angles = torch.arange(8) * math.pi / 4
    octagon = 0.5 + 0.5 * torch.stack([angles.cos(), angles.sin()], dim=1)
    assert (predictions["outline"] - octagon).abs().max() < 0.02
    assert "start" not in "".join(model.state_dict())


def test_a_head_begins_anew():
    vertices = VertexHead(4, 3)
    with torch.no_grad():
        vertices.offsets.bias += 1.0
    vertices.reset_parameters()
    assert torch.allclose(vertices(torch.zeros(1, 4))[0], vertices.start)


def test_tasks_that_need_another_model():
    with pytest.raises(ConfigError, match="no head for a judgement task"):
        head(4, TaskSpec("judgement", 2))
