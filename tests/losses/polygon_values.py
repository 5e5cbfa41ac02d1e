"""Figures of other libraries for polygons, and polygons to try losses on (tests/reference/polygons.json)."""

import json
from pathlib import Path

import torch

CONTENT = json.loads((Path(__file__).parents[1] / "reference" / "polygons.json").read_text())
CASES = CONTENT["cases"]


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


def case(name):
    """A prediction and a target, (1, V, 2) each, in float64."""
    return exact([CASES[name]["pred"]]), exact([CASES[name]["target"]])


def convex(count, vertices, seed):
    """(count, vertices, 2) convex polygons, counter-clockwise: points at sorted angles of stretched circles."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(count, vertices, dtype=torch.float64, generator=generator).mul(6.28).sort(dim=1).values
    stretch = 1.0 + 4.0 * torch.rand(count, 1, 2, dtype=torch.float64, generator=generator)
    shift = torch.randn(count, 1, 2, dtype=torch.float64, generator=generator)
    return torch.stack([angles.cos(), angles.sin()], dim=2) * stretch + shift


def scattered(count, vertices, seed, dtype=torch.float64):
    """(count, vertices, 2) polygons with vertices anywhere: concave, and mostly crossing themselves."""
    return torch.randn(count, vertices, 2, dtype=dtype, generator=torch.Generator().manual_seed(seed))
