"""One image of a segmentation at a time: what it shows, what is true, what was predicted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coral_mtl.data.segmentation.items import IMAGENET_MEAN, IMAGENET_STD
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.metrics.segmentation.levels import Level, levels_of


@dataclass(frozen=True, slots=True)
class Segmented:
    """A task's classes in one image, at one level.

    true, predicted: (H, W) int16; true ones are -1 where there is no label.
    """

    level: Level
    true: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """An image (C, H, W) as the model got it, its number and name in the split, and its classes by task and level."""

    index: int
    name: str
    inputs: Tensor
    tasks: Mapping[str, Mapping[str, Segmented]]


def images_of(
    specs: Mapping[str, TaskSpec],
    inputs: Tensor,
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    *,
    first: int,
    names: Sequence[str],
) -> Iterator[EvaluatedImage]:
    """Take a batch apart into its images, of which the one at the front has the number `first`.

    Args:
        specs: the segmentation tasks.
        inputs: (N, C, H, W).
        predictions: logits by task.
        targets: class indices by task; tasks without any are left out.
        first: number of the first image in the split.
        names: names of all images of the split.
    """
    classes = {
        task: {level.name: (level, *_classes(level, predictions[task], targets[task])) for level in levels_of(spec)}
        for task, spec in specs.items()
        if task in targets
    }
    for place, image in enumerate(inputs):
        tasks = {
            task: {
                name: Segmented(level, true[place], predicted[place]) for name, (level, true, predicted) in own.items()
            }
            for task, own in classes.items()
        }
        yield EvaluatedImage(first + place, names[first + place], image, tasks)


def _classes(level: Level, logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    both = level.true_classes(target), level.classify(logits)
    true, predicted = (classes.short().cpu().numpy() for classes in both)
    return true, predicted


def names_of(dataset: Any) -> Sequence[str]:
    """Return the names of a data set's items: those of its frames where it has some, else `item <number>`."""
    names: Sequence[str] | None = getattr(getattr(dataset, "frames", None), "names", None)
    return names if names is not None else [f"item {index}" for index in range(len(dataset))]


def picture_of(inputs: Tensor) -> np.ndarray:
    """Return (H, W, 3) bytes to look at, of an image (C, H, W) that a model got; one channel is grey.

    Values outside 0 to 1 were normalised with the mean and deviation of ImageNet, and are brought back.
    """
    image = inputs.detach().cpu().float().expand(3, -1, -1) if len(inputs) == 1 else inputs[:3].detach().cpu().float()
    if image.min() < 0.0 or image.max() > 1.0:
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
        image = image * deviation + mean
    return (image.clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0).numpy()
