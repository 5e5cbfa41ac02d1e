"""Silhouettes of garments, and the polygons around them."""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch.nn.functional import grid_sample

from coral_mtl import registry
from coral_mtl.data.fashion.items import ItemsInMemory
from coral_mtl.data.fashion.reading import SIDE, Split, read_images
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.options import NonNegativeInt, PositiveInt

CANVAS = 32
"""Side of the images in pixels."""
INK = 32
"""A pixel of this value or more is part of the garment."""
SCALES = (0.4, 1.1)
LARGEST_TURN = math.radians(34.0)
DIRECTIONS = np.arange(180) * (2.0 * math.pi / 180)
"""Angles at which hulls are measured."""

OUTLINE = "outline"


@registry.data.register
class FashionOutlines:
    """Silhouettes (1, 32, 32), with the task `outline`: the polygon around them.

    A silhouette of Fashion-MNIST, scaled by 0.4 to 1.1, turned by up to 34 degrees either way and put where there is
    room for it. The target (vertices, 2) lies on its convex hull: vertex k where the ray at the angle 2 pi k / vertices
    from the silhouette's centre of mass leaves the hull; vertex 0 is to the right of it, and y points downwards. The
    image goes from 0 to 1 in x and y. The hull is that of the pixels as squares, measured at 180 angles.

    Training and validation are made of different images, those of the two files of Fashion-MNIST. Item i is a pure
    function of (`seed`, part, i).
    """

    def __init__(
        self,
        *,
        vertices: Annotated[int, Ge(3)] = 8,
        train_size: PositiveInt = 4000,
        validation_size: PositiveInt = 1000,
        path: Path | None = None,
        seed: NonNegativeInt = 0,
    ) -> None:
        """Read the images and draw all items.

        Args:
            vertices: number of vertices of each polygon, 3 or more (default 8).
            train_size: number of training items, up to 60,000 (default 4000).
            validation_size: number of validation items, up to 10,000 (default 1000).
            path: folder with the four files (default null: that of Debian's package dataset-fashion-mnist).
            seed: seed of the items; the run's seed leaves them alone (default 0).

        Raises:
            DataError: a file is missing or damaged, or holds fewer images.
        """
        self.train = _items("train", train_size, path, vertices, (seed, 0))
        self.validation = _items("t10k", validation_size, path, vertices, (seed, 1))
        self.tasks = self.task_specs(vertices=vertices)
        self.input_shape = (1, CANVAS, CANVAS)

    @staticmethod
    def task_specs(*, vertices: int = 8, **options: Any) -> dict[str, TaskSpec]:
        """Return the tasks by name; nothing is read."""
        return {OUTLINE: TaskSpec("polygon", vertices)}


def _items(split: Split, count: int, path: Path | None, vertices: int, entropy: tuple[int, int]) -> ItemsInMemory:
    masks = read_images(split, count, path) >= INK
    draws = np.random.default_rng(entropy).uniform(size=(count, 4))  # row i does not depend on `count`
    scales = SCALES[0] + (SCALES[1] - SCALES[0]) * draws[:, 0]
    turns = LARGEST_TURN * (2.0 * draws[:, 1] - 1.0)
    centres = centres_of_mass(masks)
    support = hull_support(masks, centres)
    margins = np.minimum(scales * support.max(axis=1), CANVAS / 2)
    places = margins[:, None] + (CANVAS - 2.0 * margins)[:, None] * draws[:, 2:]
    angles = np.arange(vertices) * (2.0 * math.pi / vertices)
    radii = scales[:, None] * hull_radii(support, angles - turns[:, None])
    outlines = places[:, None] + radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    images = moved(masks, centres, scales, turns, places)
    return ItemsInMemory(images, {OUTLINE: torch.from_numpy(outlines / CANVAS).float()})


def centres_of_mass(masks: np.ndarray) -> np.ndarray:
    """Return (N, 2), the mean (x, y) of the pixels of (N, H, W) masks, whose corners are at whole numbers."""
    middles = np.arange(masks.shape[1]) + 0.5
    area = masks.sum(axis=(1, 2))
    return np.stack([masks.sum(axis=1) @ middles, masks.sum(axis=2) @ middles], axis=1) / area[:, None]


def hull_support(masks: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return (N, 180), how far the pixels of each mask reach from its centre in each of `DIRECTIONS`.

    Only the first and the last pixel of each row can be part of the hull.
    """
    middles = np.arange(masks.shape[1]) + 0.5
    inked = np.asarray(masks.any(axis=2))
    ends = np.stack([masks.argmax(axis=2), masks.shape[2] - 1 - masks[:, :, ::-1].argmax(axis=2)]) + 0.5
    across, down = np.cos(DIRECTIONS), np.sin(DIRECTIONS)
    reach: np.ndarray = np.full((len(masks), len(DIRECTIONS)), -np.inf)
    for row, middle in enumerate(middles):
        for end in ends[:, :, row]:
            found = (end - centres[:, 0])[:, None] * across + (middle - centres[:, 1])[:, None] * down
            np.maximum(reach, found, out=reach, where=inked[:, row, None])
    return reach + 0.5 * (np.abs(across) + np.abs(down))


def hull_radii(support: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return (N, V), how far the hulls reach along rays at (N, V) angles: min over phi of h(phi) / cos(phi - angle)."""
    cosines = np.cos(DIRECTIONS - angles[..., None])
    ratios = np.divide(support[:, None], cosines, out=np.full(cosines.shape, np.inf), where=cosines > 1e-6)
    return ratios.min(axis=2)


def moved(
    masks: np.ndarray, centres: np.ndarray, scales: np.ndarray, turns: np.ndarray, places: np.ndarray
) -> torch.Tensor:
    """Return (N, 1, 32, 32) images of the masks, scaled and turned about their centres, which come to lie at `places`.

    Pixels are interpolated between the four nearest ones.
    """
    middles = torch.arange(CANVAS, dtype=torch.float64) + 0.5
    canvas = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1)
    offsets = canvas - torch.from_numpy(places)[:, None, None]
    cosines, sines = (torch.from_numpy(f(turns) / scales)[:, None, None] for f in (np.cos, np.sin))
    x, y = offsets.unbind(-1)
    found = torch.stack([cosines * x + sines * y, cosines * y - sines * x], dim=-1)
    grid = (found + torch.from_numpy(centres)[:, None, None]) * (2.0 / SIDE) - 1.0
    return grid_sample(torch.from_numpy(masks).float()[:, None], grid.float(), align_corners=False)
