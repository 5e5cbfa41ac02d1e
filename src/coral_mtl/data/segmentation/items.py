"""Frames to items of training and validation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from coral_mtl.data.segmentation.augmentations import Augmentations
from coral_mtl.data.segmentation.frames import Frames, Size
from coral_mtl.data.segmentation.splitting import TaskSplitter

Item = tuple[Tensor, dict[str, Tensor]]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1, as encoders that were trained on ImageNet expect them."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How an image (3, H, W) from 0 to 1 and its ids (H, W) become an item."""

    split: TaskSplitter
    normalise: bool

    def __call__(self, image: Tensor, ids: Tensor) -> Item:
        """Return the item."""
        if self.normalise:
            mean, deviation = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
            image = (image - mean) / deviation
        return image, {task: mask.long() for task, mask in self.split(ids).items()}


class WholeFrames(Dataset[Item]):
    """Items (image (3, H, W), {task: (H, W)}): whole frames as they are, for validation."""

    def __init__(self, frames: Frames, present: Presentation) -> None:
        self.frames = frames
        self._present = present

    def __len__(self) -> int:
        return len(self.frames.names)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        frame = self.frames[index]
        return self._present(frame.image.float() / 255.0, frame.ids)


class DrawnPatches(Dataset[Item]):
    """Items (image (3, h, w), {task: (h, w)}): from each frame a patch, drawn anew in every epoch, for training.

    What is drawn is a pure function of (seed, epoch, index), in whichever process.
    """

    def __init__(self, frames: Frames, present: Presentation, augmentations: Augmentations, size: Size) -> None:
        """Cut patches of height and width `size`; of frames of that size nothing is cut."""
        self.frames = frames
        self._present = present
        self._augmentations = augmentations
        self._size = size
        self._seed_and_epoch = torch.zeros(2, dtype=torch.int64).share_memory_()  # worker processes outlive epochs

    def set_epoch(self, epoch: int, *, seed: int = 0) -> None:
        """Draw as for `epoch`, and for this seed, from the next item on, in worker processes too."""
        self._seed_and_epoch.copy_(torch.tensor([seed, epoch]))

    def __len__(self) -> int:
        return len(self.frames.names)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        frame = self.frames[index]
        generator = np.random.default_rng([*self._seed_and_epoch.tolist(), index])
        draw = self._augmentations.draw(generator, frame.size, self._size)
        return self._present(draw.of_image(frame.image), draw.of_mask(frame.ids))
