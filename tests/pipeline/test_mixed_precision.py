"""Mixed precision through the trainer: formats, the scaler, overflow."""

import pytest
import torch
from toy import Toy
from toy_training import TASKS, NoiseSplits, make_trainer

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.equal import Equal


def single(strategy, *, scale=2.0**7, **settings):
    """A trainer of one epoch in float32, whose third loss is a hundred times the first; `scale` is where it begins."""
    data = NoiseSplits(dtype=torch.float32)
    trainer, diary = make_trainer(strategy, data=data, model=Toy(TASKS, dtype=torch.float32), epochs=1, **settings)
    if trainer.precision.scaler:
        trainer.precision.scaler.scale(torch.ones(()))
        trainer.precision.scaler.update(scale)
    return trainer, diary


def movement(trainer):
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.fit()
    return torch.cat([(p.detach() - b).reshape(-1) for p, b in zip(trainer.model.parameters(), before, strict=True)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_forward_pass_runs_in_the_format_and_gradients_stay_in_float32(dtype):
    trainer, _ = single(Equal(), use_mixed_precision=True, mixed_precision_dtype=dtype)
    formats = set()
    trainer.model.trunk[0].register_forward_hook(lambda module, inputs, output: formats.add(output.dtype))
    trainer.fit()
    assert formats == {getattr(torch, dtype)}
    assert {p.grad.dtype for p in trainer.model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize("name", ["Equal", "Uncertainty", "PCGrad", "MGDA", "NashMTL", "IMGrad", "GradNorm"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_trains_as_float32_does(name, dtype):
    cls = registry.strategies.get(name)
    settings = {"lr": 1e-4, "max_grad_norm": 5.0}
    exact = movement(single(cls(), **settings)[0])
    mixed = movement(single(cls(), use_mixed_precision=True, mixed_precision_dtype=dtype, **settings)[0])
    assert torch.cosine_similarity(exact, mixed, dim=0) > 0.99
    assert abs(mixed.norm() / exact.norm() - 1) < 0.05, "the scale must be out of the gradient before it is clipped"


@pytest.mark.parametrize("name", ["Equal", "Uncertainty", "NashMTL"])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_an_overflow_skips_the_step_lowers_the_scale_and_harms_nothing(name, micro_batches):
    trainer, diary = single(
        registry.strategies.get(name)(),
        use_mixed_precision=True,
        mixed_precision_dtype="float16",
        gradient_accumulation_steps=micro_batches,
        scale=2.0**15,
    )
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    moved = []

    def watch(report):
        now = [parameter.detach() for parameter in trainer.model.parameters()]
        moved.append(any(not torch.equal(one, other) for one, other in zip(before, now, strict=True)))
        diary.steps.append(report)

    diary.on_step = watch
    trainer.fit()
    skipped = [bool(report.account.skipped) for report in diary.steps]
    assert skipped[0]
    assert not all(skipped)
    first = skipped.index(False)
    assert moved == [False] * first + [True] * (len(moved) - first)
    assert trainer.precision.scaler.get_scale() == 2.0 ** (15 - skipped.count(True))
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
    assert trainer.schedule.last_epoch == skipped.count(False)
