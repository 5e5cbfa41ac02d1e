import math

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from toy import InverseLoss, InverseNorm, Toy
from toy_training import TASKS, Noise, NoiseSplits, make_trainer, squared_errors

from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.trainer import Outcome
from coral_mtl.errors import ConfigError, TrainingError


def test_a_step_of_equal_weighting_is_gradient_descent_on_the_sum():
    trainer, diary = make_trainer(Equal(), epochs=1, max_grad_norm=None)
    reference = Toy(TASKS)
    reference.load_state_dict(trainer.model.state_dict())
    order = trainer.sampler.order().tolist()
    trainer.fit()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01)
    for start in range(0, 50, 4):
        items = [NoiseSplits().train[index] for index in order[start : start + 4]]
        inputs = torch.stack([inputs for inputs, _ in items])
        targets = {task: torch.stack([target[task] for _, target in items]) for task in TASKS}
        optimizer.zero_grad()
        sum(squared_errors(reference(inputs), targets).values()).backward()
        optimizer.step()
    for (name, trained), expected in zip(trainer.model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=1e-12, atol=1e-13, msg=name)
    assert [report.number for report in diary.steps] == list(range(1, 14))


def test_every_epoch_sees_every_sample_once_in_its_own_order():
    seen = []

    class Spy(Noise):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    data = NoiseSplits()
    data.train = Spy(50)
    trainer, _ = make_trainer(Equal(), data=data, gradient_accumulation_steps=3)
    trainer.fit()
    first, second = seen[:50], seen[50:]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_windows_count_micro_batches_and_the_last_one_is_short():
    trainer, diary = make_trainer(Equal(), epochs=1, gradient_accumulation_steps=5)
    trainer.fit()
    assert [report.micro_step for report in diary.steps] == [5, 10, 13]
    assert trainer.schedule.last_epoch == 3, "the schedule's clock counts optimiser steps"


def test_clipping_shortens_the_whole_gradient():
    norms = []

    def step_and_measure(trainer):
        def measure(optimizer, *arguments):
            grads = [p.grad for p in trainer.model.parameters() if p.grad is not None]
            norms.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))

        trainer.optimizer.register_step_pre_hook(measure)
        trainer.fit()

    free, _ = make_trainer(Equal(), epochs=1)
    step_and_measure(free)
    unclipped = norms.copy()
    norms.clear()
    clipped, diary = make_trainer(Equal(), epochs=1, max_grad_norm=float(np.median(unclipped)))
    step_and_measure(clipped)
    assert max(norms) <= np.median(unclipped) * (1 + 1e-5)
    assert diary.steps[0].clip_factor == pytest.approx(min(1.0, np.median(unclipped) / unclipped[0]), rel=1e-5)
    assert 1.0 in {report.clip_factor for report in diary.steps}


def test_validation_comes_at_its_frequency_and_at_the_end():
    trainer, diary = make_trainer(Equal(), epochs=5, val_frequency=2)
    assert trainer.fit() is Outcome.FINISHED
    assert [(report.epoch, report.step) for report in diary.validations] == [(1, 26), (3, 52), (4, 65)]


def test_validation_measures_the_whole_split_without_touching_the_run():
    model = Toy(TASKS, batch_norm=True, dropout=0.5)
    trainer, _ = make_trainer(Equal(), model=model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    metrics = trainer.validate()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    data = NoiseSplits().validation
    model.eval()
    expected = (model(data.inputs)["a"].detach() - data.targets[:, :1]).square().mean()
    assert metrics["tasks.a.loss"] == pytest.approx(float(expected), rel=1e-12)


def test_the_last_validation_tells_of_the_mean_prediction_of_snapshots():
    trainer, diary = make_trainer(Equal(), epochs=3, snapshots=[1, 2])
    trainer.fit()
    first, second, last = [report.metrics for report in diary.validations]
    own = {name for name in last if not name.startswith("ensemble.")}
    assert own == set(first) == set(second)
    assert {name.removeprefix("ensemble.") for name in last.keys() - own} == own
    losses = [report["tasks.a.loss"] for report in (first, second, last)]
    assert last["ensemble.tasks.a.loss"] < sum(losses) / 3, "a square is convex: the mean prediction beats the mean"
    assert trainer.validate() == {name: last[name] for name in own}


def test_the_selection_metric_picks_the_best_and_stops_early():
    metric = {"model_selection_metric": "tasks.c.loss", "metric_mode": "min"}
    trainer, diary = make_trainer(Equal(), lr=1e-2, epochs=40, early_stopping={"patience": 3}, **metric)
    outcome = trainer.fit()
    values = [report.metrics["tasks.c.loss"] for report in diary.validations]
    assert [report.best for report in diary.validations] == [
        value < min(values[:index], default=math.inf) for index, value in enumerate(values)
    ]
    assert outcome is Outcome.STOPPED_EARLY
    assert len(values) - 1 - int(np.argmin(values)) == 3


def test_a_metric_that_the_run_does_not_produce_is_refused_before_training():
    with pytest.raises(ConfigError, match=r"no metric called \"tasks\.a\.accuracy\".*(?s:.)*tasks\.a\.r2"):
        make_trainer(Equal(), model_selection_metric="tasks.a.accuracy")


def test_non_finite_steps_change_nothing_and_are_counted():
    trainer, diary = make_trainer(InverseNorm(), data=NoiseSplits(poisoned=[3]), epochs=1)
    at_skip = {}

    def remember(report):
        at_skip[report.number] = [parameter.detach().clone() for parameter in trainer.model.parameters()]

    diary.on_step = lambda report: (remember(report), diary.steps.append(report))
    trainer.fit()
    skipped = [report for report in diary.steps if report.account.skipped]
    assert len(skipped) == 1
    assert "non-finite loss of task 'b'" in skipped[0].account.skipped
    number = skipped[0].number
    assert number > 1
    assert all(torch.equal(one, other) for one, other in zip(at_skip[number - 1], at_skip[number], strict=True))
    assert trainer.schedule.last_epoch == 12, "a skipped step does not move the schedule's clock"


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("steps", [1, 3], ids=["one batch", "three batches"])
def test_batches_without_a_task_add_nothing_and_a_step_of_none_is_skipped(steps, scaled, monkeypatch):
    data = NoiseSplits(24, dtype=torch.float32)
    model = Toy(TASKS, dtype=torch.float32)
    trainer, diary = make_trainer(InverseNorm(), data=data, model=model, epochs=1, gradient_accumulation_steps=steps)
    trainer.precision.scaler = GradScaler("cpu", init_scale=2.0) if scaled else None
    real, empty = trainer._forward._objective, {1: [1, 5], 3: [0, 2, 3, 4, 5]}[steps]
    expected = {1: [False, True, False, False, False, True], 3: [False, True]}[steps]
    calls = iter(range(6))

    def objective(*arguments):
        return {} if next(calls) in empty else real(*arguments)

    monkeypatch.setattr(trainer._forward, "_objective", objective)
    trainer.fit()
    skipped = [report.account.skipped for report in diary.steps]
    assert [bool(reason) for reason in skipped] == expected
    assert {reason for reason in skipped if reason} == {"no task has a label and a weight in this batch"}
    assert trainer.clock == len([reason for reason in skipped if not reason])


def test_too_many_non_finite_steps_in_a_row_end_the_run():
    trainer, diary = make_trainer(Equal(), data=NoiseSplits(poisoned=range(50)), max_nonfinite_steps=5)
    with pytest.raises(TrainingError, match="step 5: 5 steps in a row were skipped") as problem:
        trainer.fit()
    assert "task 'b'" in str(problem.value)
    assert len(diary.steps) == 5, "the last skipped step is reported as well"


@pytest.mark.parametrize("strategy", [InverseNorm, InverseLoss])
def test_a_poisoned_micro_batch_skips_its_whole_window(strategy):
    trainer, diary = make_trainer(strategy(), data=NoiseSplits(poisoned=[3]), epochs=1, gradient_accumulation_steps=4)
    trainer.fit()
    assert [bool(report.account.skipped) for report in diary.steps].count(True) == 1
    assert len(diary.steps) == 4
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_checkpoints_come_every_so_many_steps_and_after_epochs(tmp_path):
    class Kept:
        def __init__(self):
            self.saved = []

        def save(self, state, *, best=False):
            self.saved.append((state["step"], best))

    kept = Kept()
    trainer, diary = make_trainer(Equal(), epochs=2, checkpoint_every=5, checkpoints=kept)
    trainer.fit()
    best = [report.best for report in diary.validations]
    expected = [
        (0, False),
        (5, False),
        (10, False),
        (13, best[0]),
        (15, False),
        (20, False),
        (25, False),
        (26, best[1]),
    ]
    assert [entry for entry in kept.saved if entry[1] or (entry[0], True) not in kept.saved] == expected
    assert diary.saves == len(kept.saved)


def test_deterministic_mode_is_for_the_time_of_training_only():
    seen = []
    trainer, diary = make_trainer(Equal(), epochs=1)
    diary.on_step = lambda report: seen.append(torch.are_deterministic_algorithms_enabled())
    trainer.fit()
    assert set(seen) == {True}
    assert not torch.are_deterministic_algorithms_enabled()
    trainer, diary = make_trainer(Equal(), epochs=1, deterministic=False)
    diary.on_step = lambda report: seen.append(torch.are_deterministic_algorithms_enabled())
    seen.clear()
    trainer.fit()
    assert set(seen) == {False}
