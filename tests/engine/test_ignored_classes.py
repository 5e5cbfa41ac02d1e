"""Classes that a loss leaves out, through the trainer."""

import torch
from torch.utils.data import Dataset
from toy_training import Diary

from coral_mtl.config.sections import Trainer as Settings
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.optimizer import SGD
from coral_mtl.engine.trainer import Trainer
from coral_mtl.losses.objective import Objective
from coral_mtl.losses.segmentation import HybridLoss
from coral_mtl.metrics import MetricSet
from coral_mtl.models.segmentation import SegmentationTrunk

TASKS = {task: TaskSpec("segmentation", 2, ignore_index=255) for task in ("coral", "fish")}


class Reef(Dataset):
    """Coral everywhere, and fish in every second item."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.rand(3, 8, 8), {
            "coral": torch.ones(8, 8, dtype=torch.long),
            "fish": torch.full((8, 8), index % 2),
        }


class ReefSplits:
    train = validation = Reef()


def tasks_of_steps(**options):
    """The tasks of each step of one item."""
    model, diary = SegmentationTrunk((3, 8, 8), TASKS, width=4, depth=2, features=8), Diary()
    engine = Engine(Equal(), model, tasks=tuple(TASKS))
    Trainer(
        model,
        Objective(HybridLoss(TASKS, **options)),
        engine,
        SGD(model.named_parameters(), 4, engine.parameter_groups(), lr=0.01),
        ReefSplits(),
        metrics=MetricSet(TASKS),
        settings=Settings(epochs=1, device="cpu"),
        batch_size=1,
        observers=[diary],
    ).fit()
    return sorted(sorted(report.account.losses) for report in diary.steps)


def test_a_task_whose_pixels_are_all_of_an_ignored_class_is_absent_from_the_step():
    assert tasks_of_steps() == [["coral", "fish"]] * 4
    assert tasks_of_steps(ignore_index=0) == [["coral"]] * 2 + [["coral", "fish"]] * 2
