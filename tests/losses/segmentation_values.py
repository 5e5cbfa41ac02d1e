"""Batches of pixels for the tests of segmentation losses, and the losses written as loops over single pixels."""

import math

import torch

from coral_mtl.data.tasks import TaskSpec

IGNORE = 255
TASK = TaskSpec("segmentation", 4, ignore_index=IGNORE, labels=("none", "alive", "bleached", "dead"))


def batch(seed=0, size=4, shape=(2, 3, 5), unlabelled=0.2, dtype=torch.float64):
    """Logits that require a gradient, and labels of which some are IGNORE; the last class is in no label."""
    generator = torch.Generator().manual_seed(seed)
    number, height, width = shape
    logits = 2 * torch.randn(number, size, height, width, generator=generator, dtype=dtype)
    target = torch.randint(size - 1, shape, generator=generator)
    target[torch.rand(shape, generator=generator) < unlabelled] = IGNORE
    return logits.requires_grad_(), target


def softmax(logits):
    top = max(logits)
    powers = [math.exp(z - top) for z in logits]
    return [power / sum(powers) for power in powers]


def labelled_pixels(logits, target, ignored=(IGNORE,)):
    """(probabilities, label) of each pixel that counts."""
    for n, y, x in torch.cartesian_prod(*map(torch.arange, target.shape)).tolist():
        if int(target[n, y, x]) not in ignored:
            yield softmax(logits[n, :, y, x].tolist()), int(target[n, y, x])


def naive_focal(logits, target, gamma=0.0, weights=None, ignored=(IGNORE,)):
    total = norm = 0.0
    for p, label in labelled_pixels(logits, target, ignored):
        weight = 1.0 if weights is None else weights[label]
        total += weight * (1 - p[label]) ** gamma * -math.log(p[label])
        norm += weight
    return total / norm


def naive_dice(logits, target, smooth=1.0, ignored=(IGNORE,)):
    counted = list(labelled_pixels(logits, target, ignored))
    losses = []
    for c in sorted({label for _, label in counted}):
        common = sum(p[c] for p, label in counted if label == c)
        sizes = sum(p[c] for p, _ in counted) + sum(label == c for _, label in counted)
        losses.append(1 - (2 * common + smooth) / (sizes + smooth))
    return sum(losses) / len(losses)


def naive_contradiction(first, second, together, counted):
    """The mean over counted pixels of the probability that independent draws do not go together."""
    total = 0.0
    for n, y, x in counted:
        p, q = softmax(first[n, :, y, x].tolist()), softmax(second[n, :, y, x].tolist())
        total += sum(p[i] * q[j] for i in range(len(p)) for j in range(len(q)) if (i, j) not in together)
    return total / len(counted)
