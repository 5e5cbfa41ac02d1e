"""What stands between shared features and the prediction of one task."""

import math

import torch
from torch import Tensor, nn

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError

SMALL = 1e-3
"""Standard deviation of the first weights of a head of vertices."""


def head(features: int, task: TaskSpec) -> nn.Module:
    """Return the head of a task that reads (N, features); raise ConfigError for a task that needs another model."""
    if task.kind == "polygon":
        return VertexHead(features, task.size)
    if task.kind in ("classification", "regression"):
        return nn.Linear(features, task.size)
    raise ConfigError(f"SharedTrunk has no head for a {task.kind} task\n    take a model that belongs to the data set")


class VertexHead(nn.Module):
    """Features (N, F) to vertices (N, V, 2) in an image that goes from 0 to 1.

    What is learned is added to the regular polygon around the whole image, vertex 0 to the right of its middle and the
    others at rising angles: all predictions start there, up to weights of size 0.001.
    """

    start: Tensor

    def __init__(self, features: int, vertices: int) -> None:
        super().__init__()
        angles = torch.arange(vertices) * (2.0 * math.pi / vertices)
        self.register_buffer("start", 0.5 + 0.5 * torch.stack([angles.cos(), angles.sin()], dim=1), persistent=False)
        self.offsets = nn.Linear(features, 2 * vertices)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.offsets.weight, std=SMALL)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.start + self.offsets(features).unflatten(1, self.start.shape)
