"""The plain SegFormer with a linear head per task: what CoralMTL is to be compared with."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.models.naming import by_task
from coral_mtl.models.segmentation.features import Features
from coral_mtl.models.segmentation.segformer_map import SegFormerMap


@registry.models.register
class SegFormerBaseline(SegFormerMap):
    """Images to logits {task: (N, size, H, W)}: SegFormer (Xie et al. 2021) with one linear head per task.

    Encoder and decoder are shared by all tasks (see AllMLPFusion for what differs from the paper's decoder). Logits are
    linear in its map, at a quarter of the resolution, enlarged bilinearly.
    """

    def __init__(self, input_shape: tuple[int, ...], tasks: Mapping[str, TaskSpec], **segformer: Any) -> None:
        """Build the model for images of the channels of `input_shape` and a head for each of `tasks`.

        Options and errors are those of SegFormerMap.
        """
        super().__init__(input_shape, tasks, **segformer)
        width = self.fusion.width
        self.heads = by_task({task: nn.Conv2d(width, spec.size, 1) for task, spec in tasks.items()})

    def predict(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of every task from the shared map."""
        return {task: features.to_pixels(head(features.map)) for task, head in self.heads.items()}
