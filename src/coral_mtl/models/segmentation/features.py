"""What a trunk hands to the heads, and the way from its map to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Features(Sequence[Tensor]):
    """The map that all heads read, as a sequence of one tensor, and where its cells lie in the images.

    map: (N, D, h, w) features.
    stride: pixels a side of a cell.
    height, width: of the images, in pixels; the map may reach beyond them, to the right and below.
    """

    map: Tensor
    stride: int
    height: int
    width: int

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        return (self.map,)[index]

    def to_pixels(self, logits: Tensor) -> Tensor:
        """Return (N, C, h, w) logits of the cells as (N, C, height, width) logits of the pixels, bilinearly."""
        finer = functional.interpolate(logits, scale_factor=self.stride, mode="bilinear")
        return finer[:, :, : self.height, : self.width]


def padded(images: Tensor, multiple: int) -> Tensor:
    """Return images whose sides are multiples of `multiple`: rows and columns of the edge repeated below and right."""
    height, width = images.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return functional.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
