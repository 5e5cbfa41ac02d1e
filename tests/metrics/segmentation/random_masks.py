"""Random segmentations with large patches, and the tasks that they are of."""

import torch

from coral_mtl.data.tasks import TaskSpec

IGNORED = 255
GENUS = TaskSpec(
    "segmentation",
    6,
    ignore_index=IGNORED,
    labels=("unlabeled", "porites", "acropora", "fungia", "favia", "pavona"),
    groups=(0, 1, 2, 1, 2, 1),
    group_labels=("unlabeled", "massive", "branching"),
)
FISH = TaskSpec("segmentation", 2, ignore_index=IGNORED, labels=("unlabeled", "fish"))
COVER = TaskSpec("segmentation", 4, ignore_index=0)  # a class that a model can predict, and no target counts
TASKS = {"genus": GENUS, "fish": FISH, "cover": COVER}


def patches(generator, *shape):
    """(N, C, H, W) smooth float64 noise, so that the largest of C forms patches."""
    coarse = torch.randn(*shape[:2], 3, 4, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
    return 3.0 * smooth + 0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def batch(seed, images=2, height=23, width=31):
    """Logits and targets of all tasks; a tenth of the elements and a whole corner have no label."""
    generator = torch.Generator().manual_seed(seed)
    logits = {task: patches(generator, images, spec.size, height, width) for task, spec in TASKS.items()}
    targets = {}
    for task, spec in TASKS.items():
        target = (logits[task] + patches(generator, images, spec.size, height, width)).argmax(dim=1)
        target[torch.rand(target.shape, generator=generator) < 0.1] = spec.ignore_index
        target[:, :6, :6] = spec.ignore_index
        targets[task] = target
    return logits, targets
