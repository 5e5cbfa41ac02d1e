"""The all-MLP decoder of SegFormer: four maps to one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class AllMLPFusion(nn.Module):
    """Maps F_i of all stages to S = ReLU(GN(sum_i up(W_i F_i) + b)), (N, D, h, w) with the size of the first.

    SegFormer projects each map to D channels, enlarges all to the first one's size, and mixes the 4 D channels by a
    second linear layer (section 3.2). Two linear layers in a row are one, and a linear layer of channels may stand
    before or after the enlargement: this form has the same functions with a quarter of the memory. GN, a group
    normalisation, is in the place of the paper's batch normalisation, so that accumulated micro-batches give the
    gradient of the large batch.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """Build W_i for maps of `channels`, and D = `width`."""
        super().__init__()
        self.width = width
        self.projections = nn.ModuleList(
            nn.Conv2d(inner, width, kernel_size=1, bias=stage == 0) for stage, inner in enumerate(channels)
        )
        self.norm = group_norm(width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        fused, *coarser = [project(stage) for project, stage in zip(self.projections, maps, strict=True)]
        for stage in coarser:
            fused = fused + functional.interpolate(stage, size=fused.shape[-2:], mode="bilinear")
        return torch.relu(self.norm(fused))


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a normalisation over 32 groups, or as many as divide both 32 and the number of channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def normalised(inner: int, outer: int) -> nn.Sequential:
    """Return a linear layer of the channels of each cell, a group normalisation and ReLU."""
    return nn.Sequential(nn.Conv2d(inner, outer, kernel_size=1, bias=False), group_norm(outer), nn.ReLU())
