"""A price on predictions of two tasks that no label image could hold at one pixel."""

from collections.abc import Mapping
from itertools import permutations

import torch
from torch import Tensor

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.losses.segmentation.pixels import Pixels


class Consistency:
    """The expected share of contradictions between tasks that were split off one label image.

    Class i of task a and class j of task b go together if an id of the label image is i in a and j in b. C_ij is 1
    where they do not, such as a state of health where genus says that there is no coral, and 0 where they do. A class
    whose ids all lack a label in the other task contradicts none of its classes. With p the predicted probabilities,
    and x running over the pixels that count for both tasks, two tasks contradict each other by

        r_ab = mean_x sum_ij p_a(i | x) C_ij p_b(j | x),

    in [0, 1]: the chance that independent draws from both predictions are impossible together. It is 0 for one-hot
    predictions that go together. Predictions that are both unsure have a price too, so it asks them to be sure as well.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        """Take those of `tasks` whose definitions can contradict each other."""
        split = {name: task for name, task in tasks.items() if task.kind == "segmentation" and task.class_of_id}
        tables = {(a, b): contradictions(split[a], split[b]) for a, b in permutations(split, 2)}
        self.tables = {pair: table for pair, table in tables.items() if table.any()}
        self.tasks = tuple(task for task in split if any(task == a for a, _ in self.tables))

    def shares(self, pixels: Mapping[str, Pixels]) -> dict[str, Tensor]:
        """Return each task's own share of the price, in [0, 1]: the mean of r_ab over the other tasks b.

        The other tasks' predictions are constants in it, so that a share reaches no head but its own task's. The
        gradients of all shares add up to that of sum_{a<b} r_ab / (n - 1), with n the number of tasks that have a pixel
        that counts. A task without one has the share 0 with a gradient of 0.

        Args:
            pixels: the tasks of this batch.
        """
        present = {task: pixels[task] for task in self.tasks if task in pixels}
        if len(present) < 2:
            return {}
        probabilities = {task: own.log_probabilities.exp().flatten(2) for task, own in present.items()}
        others = torch.stack([own.counted.any() for own in present.values()]).sum() - 1
        return {
            task: (p * self._prices(task, present, probabilities)).sum() / others.clamp(min=1)
            for task, p in probabilities.items()
        }

    @torch.no_grad()
    def _prices(self, task: str, pixels: Mapping[str, Pixels], probabilities: Mapping[str, Tensor]) -> Tensor:
        """Return (N, C, HW), what each class of `task` costs at each pixel, given the predictions of the others."""
        prices = torch.zeros_like(probabilities[task])
        with torch.autocast(prices.device.type, enabled=False):  # which would round the prices to half precision
            for other in pixels:
                if (task, other) in self.tables:
                    both = (pixels[task].counted * pixels[other].counted).flatten(1).unsqueeze(1)
                    table = self.tables[task, other].to(prices).expand(len(prices), -1, -1)
                    prices.baddbmm_(table, probabilities[other] * (both / both.sum().clamp(min=1)))
        return prices


def contradictions(first: TaskSpec, second: TaskSpec) -> Tensor:
    """Return C, (C_a, C_b) booleans: which classes of two tasks never go together (see Consistency)."""
    together = torch.zeros(first.size, second.size, dtype=torch.bool)
    for i, j in zip(first.class_of_id, second.class_of_id, strict=False):  # ids beyond the shorter table have no label
        if i != first.ignore_index and j != second.ignore_index:
            together[i, j] = True
    known = together.any(dim=1, keepdim=True) & together.any(dim=0, keepdim=True)
    return known & ~together
