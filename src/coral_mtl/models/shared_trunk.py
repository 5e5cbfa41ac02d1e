"""A small convolutional trunk that all tasks share, with one linear head per task."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.models.heads import head
from coral_mtl.models.naming import by_task
from coral_mtl.options import PositiveInt, ProperFraction


@registry.models.register
class SharedTrunk(nn.Module):
    """Images to predictions {task: (N, size)}, of polygons (N, size, 2), by way of shared features.

    The trunk is `depth` times (3 x 3 convolution, ReLU, 2 x 2 maximum), each with twice the channels and half the side
    of the one before, then one linear layer with ReLU and dropout. It holds no batch statistics, so that accumulated
    micro-batches give the gradient of the large batch.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        tasks: Mapping[str, TaskSpec],
        *,
        width: PositiveInt = 16,
        depth: PositiveInt = 2,
        features: PositiveInt = 64,
        dropout: ProperFraction = 0.0,
    ) -> None:
        """Build the trunk for images of `input_shape` (channels, height, width) and a head for each of `tasks`.

        Args:
            width: channels of the first convolution (default 16).
            depth: number of convolutions, each halving the sides (default 2).
            features: number of shared features that the heads read (default 64).
            dropout: share of the features dropped in training (default 0.0).

        Raises:
            ConfigError: the inputs are not images of 2^depth pixels or more a side, or a task has a name that a
                PyTorch module cannot have.
        """
        super().__init__()
        channels = [input_shape[0], *(width * 2**level for level in range(depth))]
        self.trunk = nn.Sequential(
            *(halving_block(inner, outer) for inner, outer in pairwise(channels)),
            nn.Flatten(),
            nn.Linear(channels[-1] * _cells(input_shape, depth), features),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.heads = by_task({task: head(features, spec) for task, spec in tasks.items()})

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits, values or vertices of every task."""
        return self.predict(self.represent(inputs))

    def represent(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the features that all heads read, of shape (N, features)."""
        return self.trunk(inputs)

    def predict(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits, values or vertices of every task from the features."""
        return {task: own(features) for task, own in self.heads.items()}


def halving_block(inner: int, outer: int) -> nn.Sequential:
    """A convolution that is followed by the maximum of each 2 x 2 cells."""
    return nn.Sequential(nn.Conv2d(inner, outer, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def _cells(input_shape: tuple[int, ...], depth: int) -> int:
    """Number of cells that are left of the image after `depth` halvings."""
    if len(input_shape) != 3 or min(input_shape[1:]) < 2**depth:
        raise ConfigError(
            f"SharedTrunk with depth {depth} takes inputs (channels, height, width) of {2**depth} pixels or more a "
            f"side, and this data set's have the shape {input_shape}\n    take a smaller depth or another model",
            option="depth",
        )
    return (input_shape[1] >> depth) * (input_shape[2] >> depth)
