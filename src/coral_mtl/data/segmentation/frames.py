"""Frames: an image and its mask as they were recorded, before they are cut, changed or split into tasks."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coral_mtl.data.segmentation.definitions import Labels
from coral_mtl.errors import DataError

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Frame:
    """image: (3, H, W) uint8; ids: (H, W) uint8, an id of the data set for every pixel."""

    image: Tensor
    ids: Tensor

    @property
    def size(self) -> Size:
        """Height and width of both."""
        height, width = self.ids.shape
        return height, width


class Frames(Protocol):
    """A reader: what kind of storage frames come from, and nothing else.

    names: the frames' names, for messages and for files about them.
    """

    names: Sequence[str]

    def __getitem__(self, index: int) -> Frame:
        """Read a frame; raise DataError with the name of what is damaged."""
        ...


def labelled(image: np.ndarray[Any, Any], ids: np.ndarray[Any, Any], name: str, labels: Labels) -> Frame:
    """Return the frame of an image (H, W, 3) and a mask (H, W), both of bytes.

    Args:
        image: the image.
        ids: the mask.
        name: what the mask is called in messages.
        labels: the ids that may occur.

    Raises:
        DataError: the two differ in size, or an id is none of the data set.
    """
    if image.shape[:2] != ids.shape:
        raise DataError(f"{name}: this mask is {_by(ids.shape)} pixels and its image {_by(image.shape[:2])}")
    if ids.max() >= labels.count:
        strangers = np.unique(ids[ids >= labels.count])
        shown = ", ".join(map(str, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise DataError(f"{name}: no class has the id {shown}\n    ids in a mask are 0 to {labels.count - 1}")
    return Frame(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(ids))


def sizes_of(frames: Frames) -> list[Size]:
    """Read every frame once, in as many threads as there are processors, and return the sizes.

    Raises:
        DataError: a frame is damaged, with its name.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        return list(threads.map(lambda index: frames[index].size, range(len(frames.names))))


def check_size(frames: Frames, patch_size: int | None) -> Size:
    """Read every frame and return the size of the items, which is that of the patches, or else of every frame.

    Raises:
        DataError: a frame is damaged, is smaller than a patch, or, where there are no patches, of another size.
    """
    sizes = sizes_of(frames)
    if patch_size is None:
        other = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
        if other is not None:
            raise DataError(
                f"{frames.names[other]} is {_by(sizes[other])} pixels, and {frames.names[0]} is {_by(sizes[0])}\n"
                "    batches need one size: give a patch_size for training, and frames of one size for validation"
            )
        return sizes[0]
    small = next((index for index, size in enumerate(sizes) if min(size) < patch_size), None)
    if small is not None:
        raise DataError(
            f"{frames.names[small]} is {_by(sizes[small])} pixels, less than a patch of {patch_size} x {patch_size}",
            option="patch_size",
        )
    return patch_size, patch_size


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, reversed(size)))
