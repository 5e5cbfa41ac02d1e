"""A trainer for the toy model, on random numbers in float64."""

import torch
from torch.utils.data import Dataset
from toy import Toy

from coral_mtl.config.sections import Trainer as Settings
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.batches import run_length
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.optimizer import SGD
from coral_mtl.engine.reports import Observer
from coral_mtl.engine.trainer import Trainer
from coral_mtl.losses.objective import Objective
from coral_mtl.metrics import MetricSet

TASKS = ("a", "b", "c")


class Noise(Dataset):
    """Item i has inputs (5,) and a target (1,) per task; task b's is NaN in the `poisoned` items."""

    def __init__(self, length, *, seed=0, dtype=torch.float64, poisoned=()):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(length, 5, generator=generator, dtype=dtype)
        self.targets = torch.randn(length, len(TASKS), generator=generator, dtype=dtype)
        self.targets[list(poisoned), 1] = float("nan")

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], {task: self.targets[index, i : i + 1] for i, task in enumerate(TASKS)}


class NoiseSplits:
    def __init__(self, length=50, **options):
        self.train = Noise(length, **options)
        self.validation = Noise(7, seed=1, dtype=self.train.inputs.dtype)


def squared_errors(predictions, targets):
    """Losses of very different sizes."""
    return {t: 10.0**i * (predictions[t] - targets[t]).square().mean() for i, t in enumerate(TASKS)}


squared_errors.terms = TASKS


class Diary(Observer):
    """Keeps every report."""

    def __init__(self):
        self.steps, self.validations, self.saves = [], [], 0

    def on_step(self, report):
        self.steps.append(report)

    def on_validation(self, report):
        self.validations.append(report)

    def on_save(self):
        self.saves += 1


def make_trainer(
    strategy, *, batch_size=4, lr=0.01, data=None, model=None, checkpoints=None, nonfinite="skip", **settings
):
    """A trainer and the diary that watches it; 50 samples, 2 epochs unless told otherwise."""
    data = data or NoiseSplits()
    model = model or Toy(TASKS)
    section = Settings(**{"epochs": 2, "device": "cpu", **settings})
    window_size = batch_size * section.gradient_accumulation_steps
    run = run_length(len(data.train), window_size, section.epochs)
    engine = Engine(strategy, model, tasks=TASKS, run=run, nonfinite=nonfinite)
    diary = Diary()
    trainer = Trainer(
        model,
        Objective(squared_errors),
        engine,
        SGD(model.named_parameters(), 100, engine.parameter_groups(), lr=lr),
        data,
        metrics=MetricSet({task: TaskSpec("regression", 1) for task in TASKS}),
        settings=section,
        batch_size=batch_size,
        checkpoints=checkpoints,
        observers=[diary],
    )
    return trainer, diary
