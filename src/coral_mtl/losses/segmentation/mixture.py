"""How much of which loss one task has."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import ConfigDict, with_config
from torch import Tensor
from typing_extensions import TypedDict  # before Python 3.12, pydantic does not take that of typing

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.losses.segmentation.dice import dice
from coral_mtl.losses.segmentation.focal import focal
from coral_mtl.losses.segmentation.pixels import Pixels
from coral_mtl.options import Fraction, NonNegative

PrimaryLoss = Literal["focal", "cross_entropy"]
ClassWeights = list[NonNegative] | dict[str, NonNegative]


@with_config(ConfigDict(extra="forbid"))
class OfOneTask(TypedDict, total=False):
    """What `task_specific` may say about a task."""

    primary_loss_type: PrimaryLoss
    hybrid_alpha: Fraction
    focal_gamma: NonNegative
    dice_smooth: NonNegative
    ignore_index: int | None
    class_weights: ClassWeights


@dataclass(frozen=True, slots=True)
class Mixture:
    """alpha (focal loss or cross-entropy) + (1 - alpha) (Dice loss), with the options of HybridLoss."""

    primary_loss_type: PrimaryLoss
    hybrid_alpha: float
    focal_gamma: float
    dice_smooth: float
    ignore_index: int | None
    class_weights: Tensor | None = None

    def idle(self, task: TaskSpec) -> dict[str, str]:
        """Return the options without effect on `task`, each with the reason."""
        reasons = {}
        if self.hybrid_alpha == 0.0:
            reasons = dict.fromkeys(("primary_loss_type", "focal_gamma", "class_weights"), "hybrid_alpha is 0")
        elif self.primary_loss_type == "cross_entropy":
            reasons = {"focal_gamma": "primary_loss_type is cross_entropy"}
        if self.hybrid_alpha == 1.0:
            reasons["dice_smooth"] = "hybrid_alpha is 1"
        if self.ignore_index not in (None, task.ignore_index, *range(task.size)):
            reasons["ignore_index"] = f"there is no class {self.ignore_index}"
        return reasons

    def ignored(self) -> tuple[int, ...]:
        """Return the classes whose pixels are left out: also those that weigh nothing where there is no Dice loss."""
        ignored = [] if self.ignore_index is None else [self.ignore_index]
        if self.hybrid_alpha == 1.0 and self.class_weights is not None:
            ignored += (self.class_weights == 0.0).nonzero().flatten().tolist()
        return tuple(ignored)

    def loss(self, pixels: Pixels) -> Tensor:
        """Return the mixture, a scalar; a part with a share of 0 is not computed."""
        alpha = self.hybrid_alpha
        gamma = self.focal_gamma if self.primary_loss_type == "focal" else 0.0
        if alpha == 0.0:
            return dice(pixels, smooth=self.dice_smooth)
        by_pixel = focal(pixels, gamma=gamma, class_weights=self.class_weights)
        return by_pixel if alpha == 1.0 else alpha * by_pixel + (1.0 - alpha) * dice(pixels, smooth=self.dice_smooth)


def weights_of_classes(name: str, task: TaskSpec, given: ClassWeights) -> Tensor:
    """Return (C,) weights from a list, or from weights by class name, with 1 for the classes that are not named.

    Raises:
        ConfigError: a list of another length, a name that is no class of the task, or no weight above 0.
    """
    where = f"task_specific.{name}.class_weights"
    if isinstance(given, dict):
        for label in given:
            _require_class(where, label, task.labels)
        given = [given.get(label, 1.0) for label in task.labels]
    if len(given) != task.size or not any(given):
        raise ConfigError(
            f"{where}: {len(given)} weights, of which {sum(map(bool, given))} are above 0\n"
            f"    give each of the {task.size} classes of {name} one, or write weights by the names of classes",
            option="task_specific",
        )
    return torch.tensor(given, dtype=torch.float64)


def _require_class(where: str, label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        near = difflib.get_close_matches(label, labels, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = f"known: {', '.join(labels)}" if labels else "the classes of this task have no names: give a list"
        raise ConfigError(f"{where}: there is no class {label!r}\n    {hint}{known}", option="task_specific")
