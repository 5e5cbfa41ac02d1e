"""SegFormer up to the map that all tasks share: what SegFormerBaseline and CoralMTL have in common."""

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.models.segmentation.features import Features, padded
from coral_mtl.models.segmentation.fusion import AllMLPFusion
from coral_mtl.models.segmentation.roles import require_segmentation
from coral_mtl.models.segmentation.segformer import STRIDES, BackboneName, SegFormerEncoder
from coral_mtl.options import FolderOrName, PositiveInt


class SegFormerMap(nn.Module):
    """Images to one map that all tasks share (SegFormer's encoder and decoder), and from there to logits."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        tasks: Mapping[str, TaskSpec],
        *,
        backbone: BackboneName = "mit_b0",
        decoder_channel: PositiveInt = 256,
        pretrained: FolderOrName | None = None,
    ) -> None:
        """Build encoder and decoder for images of the channels of `input_shape`.

        Args:
            backbone: size of the encoder, mit_b0 to mit_b5 (default mit_b0).
            decoder_channel: channels of the map that all tasks share (default 256).
            pretrained: weights of the encoder: a folder that transformers wrote, or a hub id such as nvidia/mit-b0
                (default null: random ones).

        Raises:
            ConfigError: a task is no segmentation, or the weights are not there or not those of the backbone.
            MissingExtraError: transformers is not installed.
        """
        super().__init__()
        require_segmentation(type(self).__name__, input_shape, tasks)
        self.encoder = SegFormerEncoder(backbone, input_shape[0], pretrained)
        self.fusion = AllMLPFusion(self.encoder.channels, decoder_channel)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every task for images (N, C, H, W) of any size."""
        return self.predict(self.represent(images))

    def represent(self, images: Tensor) -> Features:
        """Return the map that all tasks share, (N, decoder_channel, H/4, W/4), with H and W rounded up to 32 pixels."""
        maps = self.encoder(padded(images, STRIDES[-1]))
        return Features(self.fusion(maps), STRIDES[0], *images.shape[-2:])

    @abstractmethod
    def predict(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of every task from the shared map."""
