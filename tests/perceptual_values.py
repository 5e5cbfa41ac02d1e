"""Figures of lpips and others for perceptual distances (tests/reference/perceptual.json)."""

import json
from pathlib import Path

import torch

CONTENT = json.loads((Path(__file__).parent / "reference" / "perceptual.json").read_text())


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


def wave(a, b, *shape):
    """relu(sin(a (1..n) + b)) in this shape: features that one line rebuilds."""
    count = torch.Size(shape).numel()
    return torch.relu(torch.sin(a * torch.arange(1, count + 1, dtype=torch.float64) + b)).reshape(shape)


class Formula(torch.nn.Module):
    """A backbone whose maps of an image are given by the image's first entry."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return self.maps[int(images.flatten()[0])]


def numbered(index):
    """The image that `Formula` gives its maps number `index` for."""
    return torch.full((2, 3, 1, 1), float(index))
