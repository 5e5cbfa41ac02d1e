"""Segmentation models under gradient strategies: rows without weight gradients, and gradients at the shared map."""

import pytest
import torch
from segmentations import SMALL, TASKS, images, small

from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.losses.segmentation import HybridLoss

each = pytest.mark.parametrize("name", SMALL)


def build(name):
    return small(name).double().eval()  # without stochastic depth


def losses(predictions):
    generator = torch.Generator().manual_seed(3)
    targets = {task: torch.randint(spec.size, (2, 32, 32), generator=generator) for task, spec in TASKS.items()}
    return HybridLoss(TASKS)(predictions, targets)


@each
def test_ghost_rows_give_the_gradient_of_stored_ones(name):
    gradients = {}
    for rows in ("stored", "ghost"):
        model = build(name)
        engine = Engine(NashMTL(), model, rows=rows)
        for _ in range(2):  # what is shared is known after the first step
            model.zero_grad()
            engine.backward(losses(model(images(2, 3, 32, 32, dtype=torch.float64))))
        gradients[rows] = {n: p.grad for n, p in model.named_parameters()}
    taken = engine.ghost_layers()
    assert any(layer.startswith(("blocks", "encoder")) for layer in taken)
    for n, stored in gradients["stored"].items():
        assert torch.allclose(gradients["ghost"][n], stored, rtol=1e-7, atol=1e-12), n


@each
def test_gradients_at_the_shared_map(name):
    """The coefficients follow from the map's gradients, and the trunk's gradient is that of the weighed losses."""
    model = build(name)
    engine = Engine(NashMTL(), model, gram_on="features")
    features = model.represent(images(2, 3, 32, 32, dtype=torch.float64))
    terms = losses(model.predict(features))
    step = engine.backward(terms, features=features)
    assert set(step.weights) == set(TASKS)
    model_too = build(name)
    terms = losses(model_too(images(2, 3, 32, 32, dtype=torch.float64)))
    sum(step.weights[task] * term for task, term in terms.items()).backward()
    behind = [n for n, _ in model.named_parameters() if not n.startswith(("heads", "branches", "attention", "mixing"))]
    ours, theirs = dict(model.named_parameters()), dict(model_too.named_parameters())
    for n in behind:
        assert torch.allclose(ours[n].grad, theirs[n].grad, rtol=1e-7, atol=1e-12), n


@each
def test_mixed_precision_keeps_the_types(name):
    model = build(name).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = model(images(2, 3, 40, 32))
        terms = losses({task: each[:, :, :32] for task, each in predictions.items()})
    assert all(term.dtype == torch.float32 for term in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
