"""The plain SegFormer with a linear head per task: what CoralMTL is to be compared with."""

from collections.abc import Mapping

from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.models.naming import by_task
from coral_mtl.models.segmentation.features import Features, padded
from coral_mtl.models.segmentation.fusion import AllMLPFusion
from coral_mtl.models.segmentation.roles import require_segmentation
from coral_mtl.models.segmentation.segformer import STRIDES, BackboneName, SegFormerEncoder
from coral_mtl.options import PositiveInt


@registry.models.register
class SegFormerBaseline(nn.Module):
    """Images to logits {task: (N, size, H, W)}: SegFormer (Xie et al. 2021) with one linear head per task.

    Encoder and decoder are shared by all tasks (see AllMLPFusion for what differs from the paper's decoder). Logits are
    linear in its map, at a quarter of the resolution, enlarged bilinearly.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        tasks: Mapping[str, TaskSpec],
        *,
        backbone: BackboneName = "mit_b0",
        decoder_channel: PositiveInt = 256,
        pretrained: str | None = None,
    ) -> None:
        """Build the model for images of the channels of `input_shape` and a head for each of `tasks`.

        Args:
            backbone: size of the encoder, mit_b0 to mit_b5 (default mit_b0).
            decoder_channel: channels of the map that the heads read (default 256).
            pretrained: weights of the encoder: a folder that transformers wrote (from the current folder), or a hub id
                such as nvidia/mit-b0 (default null: random ones).

        Raises:
            ConfigError: a task is no segmentation, or the weights are not there or not those of the backbone.
            MissingExtraError: transformers is not installed.
        """
        super().__init__()
        require_segmentation("SegFormerBaseline", input_shape, tasks)
        self.encoder = SegFormerEncoder(backbone, input_shape[0], pretrained)
        self.fusion = AllMLPFusion(self.encoder.channels, decoder_channel)
        self.heads = by_task({task: nn.Conv2d(decoder_channel, spec.size, 1) for task, spec in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every task for images (N, C, H, W) of any size."""
        return self.predict(self.represent(images))

    def represent(self, images: Tensor) -> Features:
        """Return the map that the heads read, (N, decoder_channel, H/4, W/4), with H and W rounded up to 32 pixels."""
        maps = self.encoder(padded(images, STRIDES[-1]))
        return Features(self.fusion(maps), STRIDES[0], *images.shape[-2:])

    def predict(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of every task from the shared map."""
        return {task: features.to_pixels(head(features.map)) for task, head in self.heads.items()}
