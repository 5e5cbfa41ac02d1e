"""A small convolutional encoder and decoder that needs no other package and trains on a CPU in minutes."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.models.naming import by_task
from coral_mtl.models.segmentation.features import Features, padded
from coral_mtl.models.segmentation.fusion import group_norm
from coral_mtl.models.segmentation.roles import require_segmentation
from coral_mtl.options import PositiveInt

WIDEST = 4
"""Channels double from level to level up to this multiple of the first level's."""


@registry.models.register
class SegmentationTrunk(nn.Module):
    """Images to logits {task: (N, size, H, W)}: convolutions that all tasks share, and one linear head per task.

    Down: `depth` levels, each a 3 x 3 convolution that halves the sides and a residual block (He et al. 2016, with the
    normalisation first). Up: a feature pyramid (Lin et al. 2017), in which the map of each level is a linear layer of
    its own features plus the enlarged map of the level below, mixed by a 3 x 3 convolution. Heads read the finest map,
    at half the resolution. Normalisation is by groups of channels: no batch statistics, so that accumulated
    micro-batches give the gradient of the large batch.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        tasks: Mapping[str, TaskSpec],
        *,
        width: PositiveInt = 24,
        depth: PositiveInt = 5,
        features: PositiveInt = 48,
    ) -> None:
        """Build the trunk for images of the channels of `input_shape` and a head for each of `tasks`.

        Args:
            width: channels of the finest level; they double from level to level up to four times as many (default 24).
            depth: number of levels, each of half the sides of the one before (default 5).
            features: channels of the maps on the way up, which the heads read (default 48).

        Raises:
            ConfigError: the inputs are no images, a task is no segmentation, or a task has a name that no module can
                have.
        """
        super().__init__()
        require_segmentation("SegmentationTrunk", input_shape, tasks)
        widths = [width * min(2**level, WIDEST) for level in range(depth)]
        self.halvings = nn.ModuleList(
            nn.Conv2d(inner, outer, kernel_size=3, stride=2, padding=1)
            for inner, outer in pairwise([input_shape[0], *widths])
        )
        self.blocks = nn.ModuleList(Residual(each) for each in widths)
        self.laterals = nn.ModuleList(_activated(each, features, side=1) for each in widths)
        self.mixings = nn.ModuleList(_activated(features, features, side=3) for _ in widths[:-1])
        self.norm = group_norm(features)
        self.heads = by_task({task: nn.Conv2d(features, spec.size, kernel_size=1) for task, spec in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every task for images (N, C, H, W) of any size."""
        return self.predict(self.represent(images))

    def represent(self, images: Tensor) -> Features:
        """Return the map that the heads read, (N, features, H/2, W/2), with H and W rounded up to 2^depth pixels."""
        levels = []
        below = padded(images, 2 ** len(self.halvings))
        for halve, block in zip(self.halvings, self.blocks, strict=True):
            below = block(halve(below))
            levels.append(below)
        sides = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        merged = sides.pop()
        for mix in reversed(self.mixings):
            enlarged = functional.interpolate(merged, scale_factor=2, mode="bilinear")
            merged = mix(sides.pop() + enlarged)
        return Features(torch.relu(self.norm(merged)), 2, *images.shape[-2:])

    def predict(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of every task from the shared map."""
        return {task: features.to_pixels(head(features.map)) for task, head in self.heads.items()}


class Residual(nn.Module):
    """x plus two convolutions of it, each after a normalisation and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _activated(width, width, side=3)
        self.second = _activated(width, width, side=3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def _activated(inner: int, outer: int, side: int) -> nn.Sequential:
    return nn.Sequential(group_norm(inner), nn.ReLU(), nn.Conv2d(inner, outer, kernel_size=side, padding=side // 2))
