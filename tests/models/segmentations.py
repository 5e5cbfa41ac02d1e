"""Tasks, images and small models for the tests of segmentation models."""

import pytest
import torch

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec

TASKS = {
    "genus": TaskSpec("segmentation", 5),
    "health": TaskSpec("segmentation", 4),
    "fish": TaskSpec("segmentation", 2),
}


SMALL = {
    "SegmentationTrunk": {"width": 4, "depth": 3, "features": 8},
    "SegFormerBaseline": {"decoder_channel": 16},
    "CoralMTL": {"decoder_channel": 16, "attention_dim": 8, "tasks": {"auxiliary": ["fish"]}},
}


def small(name, **options):
    if name != "SegmentationTrunk":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return registry.models.get(name)((3, 32, 32), TASKS, **SMALL[name] | options)


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tasks_that_reach(model, named):
    """{parameter name: tasks whose logits depend on it}."""
    reached = {name: set() for name, _ in named}
    for task, logits in model(images(2, 3, 32, 32)).items():
        model.zero_grad(set_to_none=True)
        logits.square().sum().backward(retain_graph=True)
        for name, parameter in named:
            if parameter.grad is not None and parameter.grad.any():
                reached[name].add(task)
    return reached
