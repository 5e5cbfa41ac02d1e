"""All images at once, as they are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from coral_mtl import registry


@registry.inference.register
class WholeImage:
    """Gives the images to the model as they are; the memory that this takes grows with the images."""

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
        """Return the model's predictions for a batch, by task."""
        return model(images)
