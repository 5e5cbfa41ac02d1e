"""One draw of the augmentations, carried out on an image and on masks.

Everything is computed pixel by pixel, with sums in a fixed order, so that a training process with many threads and a
worker process with one come to the same bits.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from coral_mtl.data.segmentation.definitions import IGNORE_INDEX
from coral_mtl.data.segmentation.frames import Size

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the grey that people see (ITU-R BT.601)."""
_TO_YIQ = np.array([GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])


@dataclass(frozen=True, slots=True)
class Colour:
    """Factors on brightness, contrast and saturation, and a turn of the hue in full turns."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    def __call__(self, image: Tensor) -> Tensor:
        """Return clip(b c H S x + b (1 - c) m) of an image (3, H, W) from 0 to 1.

        m is the mean grey of the image, S = s I + (1 - s) 1 g^T with the shares g of the grey, and H turns the plane
        of the colours (I and Q of YIQ), which leaves every grey as it is.
        """
        if self == Colour():
            return image
        turned = np.linalg.inv(_TO_YIQ) @ _turn(2.0 * math.pi * self.hue) @ _TO_YIQ
        saturated = self.saturation * np.eye(3) + (1.0 - self.saturation) * np.outer(np.ones(3), GREY)
        matrix = (self.brightness * self.contrast * turned @ saturated).tolist()
        grey = float(np.dot(GREY, image.numpy().mean(axis=(1, 2), dtype=np.float64)))
        offset = self.brightness * (1.0 - self.contrast) * grey
        red, green, blue = image
        mixed = torch.stack([r * red + g * green + b * blue + offset for r, g, b in matrix])
        return mixed.clamp_(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Draw:
    """A piece of a frame, scaled to a patch, mirrored, coloured, turned and blurred, in this order.

    size: height and width of the patch.
    top, left, height, width: the piece.
    mirror, tip: whether left and right, top and bottom change places.
    colour: the change of colours.
    angle: turn about the centre against the clock, in degrees.
    blur: standard deviation of the Gaussian, in pixels of the patch.
    """

    size: Size
    top: int
    left: int
    height: int
    width: int
    mirror: bool = False
    tip: bool = False
    colour: Colour = Colour()
    angle: float = 0.0
    blur: float = 0.0

    def of_image(self, image: Tensor) -> Tensor:
        """Return the patch (3, h, w) float32 from 0 to 1 of an image (3, H, W) uint8, interpolated linearly."""
        piece = self._piece(image).float() / 255.0
        if piece.shape[-2:] != self.size:
            piece = F.interpolate(piece[None], self.size, mode="bilinear", antialias=True)[0].clamp_(0.0, 1.0)
        piece = self.colour(self._flipped(piece))
        if self.angle:
            rows, columns = self._sources()
            height, width = self.size
            grid = torch.stack([(2.0 * columns + 1.0) / width - 1.0, (2.0 * rows + 1.0) / height - 1.0], dim=-1)
            piece = F.grid_sample(piece[None], grid[None], padding_mode="zeros", align_corners=False)[0]
        return _blurred(piece, self.blur)

    def of_mask(self, mask: Tensor) -> Tensor:
        """Return the patch (h, w) of a mask (H, W) uint8: nearest pixels, IGNORE_INDEX for those from outside."""
        piece = self._piece(mask)
        if piece.shape != self.size:
            piece = F.interpolate(piece[None, None], self.size, mode="nearest-exact")[0, 0]
        piece = self._flipped(piece)
        if not self.angle:
            return piece.contiguous()
        height, width = self.size
        rows, columns = (source.round().long() for source in self._sources())
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        turned = piece[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        return torch.where(inside, turned, torch.tensor(IGNORE_INDEX, dtype=torch.uint8))

    def _piece(self, picture: Tensor) -> Tensor:
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def _flipped(self, picture: Tensor) -> Tensor:
        axes = [axis for axis, flip in ((-1, self.mirror), (-2, self.tip)) if flip]
        return picture.flip(axes) if axes else picture

    def _sources(self) -> tuple[Tensor, Tensor]:
        """Rows and columns, each (h, w), that the pixels of the turned patch come from."""
        height, width = self.size
        down = torch.arange(height)[:, None] - (height - 1) / 2
        right = torch.arange(width)[None, :] - (width - 1) / 2
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        rows = cosine * down + sine * right + (height - 1) / 2
        columns = cosine * right - sine * down + (width - 1) / 2
        return rows, columns


def _turn(angle: float) -> np.ndarray:
    """The rotation by `angle`, in radians, that leaves the first axis alone."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])


def _blurred(image: Tensor, deviation: float) -> Tensor:
    """Return an image (3, H, W) convolved with a Gaussian, mirrored at its borders, cut off at three deviations."""
    radius = min(math.ceil(3.0 * deviation), min(image.shape[-2:]) - 1)
    if radius == 0:
        return image
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    taps /= taps.sum()
    for axis, padding in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        padded = F.pad(image[None], padding, mode="reflect")[0]
        length = image.shape[axis]
        image = torch.zeros_like(image)
        for start, tap in enumerate(taps.tolist()):
            image.add_(padded.narrow(axis, start, length), alpha=tap)
    return image
