"""Garments in ten classes."""

from pathlib import Path
from typing import Any

import torch

from coral_mtl import registry
from coral_mtl.data.fashion.items import ItemsInMemory
from coral_mtl.data.fashion.reading import CLASSES, SIDE, Split, read_images, read_labels
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.options import PositiveInt

GARMENT = "garment"


@registry.data.register
class FashionMNIST:
    """Images (1, 28, 28) of garments from 0 to 1, with the task `garment`: which of ten classes it is.

    The first images of the two files, in their order: training ones of the one, validation ones of the other.
    """

    def __init__(
        self, *, train_size: PositiveInt = 6000, validation_size: PositiveInt = 2000, path: Path | None = None
    ) -> None:
        """Read the images.

        Args:
            train_size: number of training items, up to 60,000 (default 6000).
            validation_size: number of validation items, up to 10,000 (default 2000).
            path: folder with the four files (default null: that of Debian's package dataset-fashion-mnist).

        Raises:
            DataError: a file is missing or damaged, or holds fewer images.
        """
        self.train = _items("train", train_size, path)
        self.validation = _items("t10k", validation_size, path)
        self.tasks = self.task_specs()
        self.input_shape = (1, SIDE, SIDE)

    @staticmethod
    def task_specs(**options: Any) -> dict[str, TaskSpec]:
        """Return the tasks by name, which are the same whatever the options; nothing is read."""
        return {GARMENT: TaskSpec("classification", len(CLASSES), labels=CLASSES)}


def _items(split: Split, count: int, path: Path | None) -> ItemsInMemory:
    images = torch.from_numpy(read_images(split, count, path) / 255.0).float()
    return ItemsInMemory(images[:, None], {GARMENT: torch.from_numpy(read_labels(split, count, path))})
