"""A perceptual distance over a small network, and the choice that follows from two distances."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.models.perceptual.comparison import Antisymmetric, Difference, LearnedComparison, LogRatio
from coral_mtl.models.perceptual.distance import PerceptualDistance
from coral_mtl.models.shared_trunk import halving_block
from coral_mtl.options import PositiveInt, ProperFraction
from coral_mtl.unreadable import UNREADABLE, reason

Comparison = Literal["difference", "log_ratio", "learned", "antisymmetric"]


@registry.models.register
class PerceptualJudge(nn.Module):
    """Triplets (N, 3, C, H, W) to (N, 3): the distances of both copies from the first image, and a logit.

    The distance is PerceptualDistance over the maps of `depth` convolutional blocks, those of a SharedTrunk. Parameters
    are called `distance.backbone.*`, `distance.linear.<layer>` and `comparison.*`: freeze, reset or constrain them by
    these names.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        tasks: Mapping[str, TaskSpec],
        *,
        width: PositiveInt = 12,
        depth: PositiveInt = 3,
        comparison: Comparison = "difference",
        dropout: ProperFraction = 0.0,
        backbone: Path | None = None,
    ) -> None:
        """Build the distance for triplets of `input_shape` (3, channels, height, width) and the one task.

        Args:
            width: channels of the first convolution; each next one has twice as many (default 12).
            depth: number of blocks, each halving the sides, and of maps that are compared (default 3).
            comparison: the logit from distances d0 and d1: `difference` (d0 - d1) / tau with tau learned, `log_ratio`
                log((d0 + 0.01) / (d1 + 0.01)) / tau with tau learned, `learned` by lpips' network of five inputs, or
                `antisymmetric`, the same made antisymmetric (default difference).
            dropout: share of the squared differences that training leaves out (default 0.0).
            backbone: checkpoint of a run with a SharedTrunk of this width and depth, whose blocks these begin with
                (default null: random ones).

        Raises:
            ConfigError: the data are no triplets, or there is more than one task.
            DataError: the checkpoint is missing or damaged, or of other blocks.
        """
        super().__init__()
        if len(input_shape) != 4 or [spec.kind for spec in tasks.values()] != ["judgement"]:
            raise ConfigError(
                "PerceptualJudge takes triplets of images and one judgement task, not inputs of the shape "
                f"{input_shape} and the tasks {', '.join(tasks)}"
            )
        channels = [input_shape[1], *(width * 2**level for level in range(depth))]
        blocks = Maps(halving_block(inner, outer) for inner, outer in pairwise(channels))
        if backbone is not None:
            _load_trunk(blocks, backbone)
        (self.task,) = tasks
        self.distance = PerceptualDistance(blocks, channels[1:], dropout=dropout)
        self.comparison = _comparison(comparison)

    def forward(self, triplets: Tensor) -> dict[str, Tensor]:
        """Return {task: (N, 3)}: the distances of the second and third image from the first, and the logit."""
        reference, *copies = triplets.unbind(dim=1)
        first, second = self.distance.triplet(reference, *copies)
        return {self.task: torch.stack([first, second, self.comparison(first, second)], dim=1)}


class Maps(nn.ModuleList):
    """Blocks one after the other, with the output of each."""

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for block in self:
            images = block(images)
            maps.append(images)
        return maps


def _comparison(name: Comparison) -> nn.Module:
    match name:
        case "difference":
            return Difference(temperature=0.1, learned=True)
        case "log_ratio":
            return LogRatio(epsilon=0.01, learned=True)
        case "learned":
            return LearnedComparison()
        case "antisymmetric":
            return Antisymmetric(LearnedComparison())


def _load_trunk(blocks: nn.Module, path: Path) -> None:
    """Put the convolutions of a run's SharedTrunk on the blocks."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)["trainer"]["model"]
        blocks.load_state_dict({name: saved[f"trunk.{name}"] for name in blocks.state_dict()})
    except FileNotFoundError:
        raise DataError(
            f"there is no checkpoint {path}\n    train it first: coral-mtl train configs/perceptual/backbone.yaml",
            option="backbone",
        ) from None
    except UNREADABLE as problem:
        raise DataError(
            f"{path} does not hold the blocks of a SharedTrunk of this width and depth: {reason(problem)}",
            option="backbone",
        ) from problem
