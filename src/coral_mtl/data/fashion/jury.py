"""Triplets of garments, and the votes of judges who are simulated."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from coral_mtl import registry
from coral_mtl.data.fashion.distortions import DISTORTIONS, distorted
from coral_mtl.data.fashion.items import ItemsInMemory
from coral_mtl.data.fashion.reading import SIDE, Split, read_images
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.options import NonNegativeInt, PositiveInt

JUDGE = "judge"
STRENGTHS = 5
TRAINING_VOTES, VALIDATION_VOTES = 2, 5
CERTAINTY = 12.0
"""How decided a judge is: the probability of choosing the second image is sigmoid(CERTAINTY (J(x, x0) - J(x, x1)))."""


@registry.data.register
class FashionJury:
    """Items (images (3, 1, 28, 28) from -1 to 1, {"judge": votes}): a garment, and two spoilt copies of it.

    The copies are spoilt by noise, blur, less contrast, a shift, fewer grey levels or a lower resolution, each in one
    of five strengths. **No person has judged them.** A judge chooses the second copy with the probability
    sigmoid(12 (J(x, x0) - J(x, x1))), J = 0.6 (1 - SSIM) + 1.2 (1 - gradient similarity); the votes are the share of 2
    judges who chose it in training, of 5 in validation. Training and validation are made of different garments, those
    of the two files of Fashion-MNIST.
    """

    def __init__(
        self,
        *,
        train_size: PositiveInt = 3000,
        validation_size: PositiveInt = 1000,
        path: Path | None = None,
        seed: NonNegativeInt = 0,
    ) -> None:
        """Read the images, spoil them and let the jury vote.

        Args:
            train_size: number of training triplets, up to 60,000 (default 3000).
            validation_size: number of validation triplets, up to 10,000 (default 1000).
            path: folder with the four files (default null: that of Debian's package dataset-fashion-mnist).
            seed: seed of the distortions and votes; the run's seed leaves them alone (default 0).

        Raises:
            DataError: a file is missing or damaged, or holds fewer images.
        """
        self.train = _items("train", train_size, path, (seed, 0), TRAINING_VOTES)
        self.validation = _items("t10k", validation_size, path, (seed, 1), VALIDATION_VOTES)
        self.tasks = self.task_specs()
        self.input_shape = (3, 1, SIDE, SIDE)

    @staticmethod
    def task_specs(**options: Any) -> dict[str, TaskSpec]:
        """Return the tasks by name, which are the same whatever the options; nothing is read."""
        return {JUDGE: TaskSpec("judgement", 2)}


def _items(split: Split, count: int, path: Path | None, entropy: tuple[int, int], judges: int) -> ItemsInMemory:
    draw = np.random.default_rng(entropy)
    generator = torch.Generator().manual_seed(int(draw.integers(2**62)))
    images = torch.from_numpy(read_images(split, count, path) / 255.0).float()[:, None]
    copies = [_spoilt(images, draw, generator) for _ in range(2)]
    chances = choice_of_second(images, *copies)
    votes = torch.from_numpy(draw.binomial(judges, chances.double().numpy()) / judges).float()
    return ItemsInMemory(torch.stack([images, *copies], dim=1) * 2.0 - 1.0, {JUDGE: votes})


def _spoilt(images: Tensor, draw: np.random.Generator, generator: torch.Generator) -> Tensor:
    kinds = torch.from_numpy(draw.integers(len(DISTORTIONS), size=len(images)))
    strengths = torch.from_numpy(draw.integers(STRENGTHS, size=len(images))) / (STRENGTHS - 1)
    return distorted(images, kinds, strengths, generator)


def choice_of_second(images: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return (N,), the probability that a judge of the simulated jury chooses the second copy."""
    return torch.sigmoid(CERTAINTY * (unlikeness(images, first) - unlikeness(images, second)))


def unlikeness(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) J = 0.6 (1 - SSIM) + 1.2 (1 - gradient similarity) of images (N, 1, H, W) from 0 to 1."""
    return 0.6 * (1.0 - structural_similarity(first, second)) + 1.2 * (1.0 - gradient_similarity(first, second))


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) mean SSIM over windows of 7 x 7 pixels (Wang et al. 2004, equation 13, with equal weights)."""

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(values, 7, stride=1)

    means = mean(first), mean(second)
    variances = mean(first.square()) - means[0].square(), mean(second.square()) - means[1].square()
    shared = mean(first * second) - means[0] * means[1]
    light = (2.0 * means[0] * means[1] + 1e-4) / (means[0].square() + means[1].square() + 1e-4)
    structure = (2.0 * shared + 9e-4) / (variances[0] + variances[1] + 9e-4)
    return (light * structure).mean(dim=(1, 2, 3))


def gradient_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) mean of (2 m0 m1 + c) / (m0^2 + m1^2 + c), m the length of the image's gradient (Xue et al. 2014)."""
    lengths = _gradient_length(first), _gradient_length(second)
    products = 2.0 * lengths[0] * lengths[1]
    return ((products + 0.0026) / (lengths[0].square() + lengths[1].square() + 0.0026)).mean(dim=(1, 2, 3))


def _gradient_length(images: Tensor) -> Tensor:
    across = torch.tensor([1.0, 0.0, -1.0]).expand(3, 3) / 3.0
    found = conv2d(images, torch.stack([across, across.T])[:, None], padding=1)
    return found.square().sum(dim=1, keepdim=True).sqrt()
