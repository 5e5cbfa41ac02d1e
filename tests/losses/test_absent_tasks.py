"""Batches in which four of seven segmentation tasks have no labelled pixel, through the engine."""

import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.engine import Engine
from coral_mtl.losses.composite import CompositeHierarchical
from coral_mtl.models.segmentation import SegmentationTrunk
from coral_mtl.registry import strategies

NAMES = ("genus", "health", "fish", "human_artifacts", "substrate", "background", "biota")
ABSENT = ("health", "fish", "background", "biota")
PRESENT = tuple(name for name in NAMES if name not in ABSENT)
TABLES = {name: tuple((step * id_) // 2 % 3 for id_ in range(12)) for step, name in enumerate(NAMES, start=1)}
TASKS = {name: TaskSpec("segmentation", 3, ignore_index=255, class_of_id=table) for name, table in TABLES.items()}


def batch():
    generator = torch.Generator().manual_seed(0)
    targets = {name: torch.randint(3, (2, 16, 16), generator=generator) for name in NAMES}
    return torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64), targets


def step(strategy, targets, **options):
    """The model with its gradients after one step, and the account of the step."""
    torch.manual_seed(0)
    model = SegmentationTrunk((3, 16, 16), TASKS, width=4, depth=2, features=8).double()
    loss = CompositeHierarchical(TASKS, w_consistency=0.5)
    engine = Engine(strategies.get(strategy)(), model, tasks=NAMES, **options)
    features = model.represent(batch()[0])
    terms = loss(model.predict(features), targets)
    told = engine.backward(terms, features=features if options.get("gram_on") == "features" else None)
    return model, told


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        *((name, {}) for name in ("Equal", "Uncertainty", "PCGrad", "IMGrad", "NashMTL", "MGDA", "CAGrad", "UPGrad")),
        ("NashMTL", {"rows": "ghost"}),
        ("NashMTL", {"rows": "stored"}),
        ("NashMTL", {"gram_on": "features"}),
    ],
)
def test_four_of_seven_tasks_without_labels_change_nothing(strategy, options):
    _, targets = batch()
    ignored = {name: torch.full_like(labels, 255) if name in ABSENT else labels for name, labels in targets.items()}
    model, told = step(strategy, ignored, **options)
    alone, alone_told = step(strategy, {name: targets[name] for name in PRESENT}, **options)
    assert told.skipped is None
    assert all(told.losses[name] == 0.0 for name in ABSENT)
    assert {name: told.weights[name] for name in PRESENT} == pytest.approx(alone_told.weights, rel=1e-9)
    for (name, own), other in zip(model.named_parameters(), alone.parameters(), strict=True):
        if other.grad is None:
            assert name.split(".")[1] in ABSENT
            assert own.grad is None or not own.grad.any()
        else:
            assert torch.isfinite(own.grad).all()
            assert torch.allclose(own.grad, other.grad, rtol=1e-9, atol=1e-14), name


@pytest.mark.parametrize("options", [{}, {"gram_on": "features"}])
def test_such_tasks_are_listed(options):
    _, targets = batch()
    ignored = {name: torch.full_like(labels, 255) if name in ABSENT else labels for name, labels in targets.items()}
    _, told = step("NashMTL", ignored, **options)
    assert set(told.inactive) == set(ABSENT)
    assert set(told.weights) == set(PRESENT)


def test_a_batch_without_any_label_is_skipped():
    _, targets = batch()
    model, told = step("NashMTL", {name: torch.full_like(labels, 255) for name, labels in targets.items()})
    assert told.skipped == "no task has a gradient" or not told.weights
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
