"""Augmentations: random changes of training items, so that a model sees no item twice."""

from typing import Annotated

import numpy as np
from annotated_types import Interval

from coral_mtl import registry
from coral_mtl.data.segmentation.drawing import Colour, Draw
from coral_mtl.data.segmentation.frames import Size
from coral_mtl.errors import ConfigError
from coral_mtl.options import Fraction, NonNegative, Positive

Turns = Annotated[float, Interval(ge=0, le=0.5)]
Degrees = Annotated[float, Interval(ge=0, le=180)]


@registry.augmentations.register
class Augmentations:
    """What may be changed, and how far; each is drawn evenly within its range, and all are off by default.

    Every draw takes the same random numbers, whatever is on: switching one augmentation on leaves the others alone.
    """

    def __init__(
        self,
        *,
        resized_crop: tuple[Positive, Positive] | None = None,
        horizontal_flip: Fraction = 0.0,
        vertical_flip: Fraction = 0.0,
        rotation: Degrees = 0.0,
        brightness: Fraction = 0.0,
        contrast: Fraction = 0.0,
        saturation: Fraction = 0.0,
        hue: Turns = 0.0,
        blur: NonNegative = 0.0,
    ) -> None:
        """Set the ranges.

        Args:
            resized_crop: least and largest factor that a piece at a random place is enlarged by, drawn evenly in its
                logarithm; below 1 the patch shows more of its frame, yet never more than there is (default null: no
                enlarging).
            horizontal_flip: probability that left and right change places (default 0).
            vertical_flip: probability that top and bottom change places (default 0).
            rotation: largest angle of a turn about the centre, either way, in degrees; pixels that come from outside
                are black and ignored in every task (default 0).
            brightness: largest share that the brightness is raised or lowered by (default 0).
            contrast: largest share that the distance from the mean grey is raised or lowered by (default 0).
            saturation: largest share that the distance from each pixel's grey is raised or lowered by (default 0).
            hue: largest turn of the colours about the grey axis, either way, in full turns (default 0).
            blur: largest standard deviation of a Gaussian blur, in pixels (default 0).

        Raises:
            ConfigError: the factors of `resized_crop` are in the wrong order.
        """
        if resized_crop is not None and resized_crop[0] > resized_crop[1]:
            least, largest = resized_crop
            raise ConfigError(
                f"resized_crop goes from {least:g} down to {largest:g}\n    write [{largest:g}, {least:g}]",
                option="resized_crop",
            )
        self.enlargement = resized_crop or (1.0, 1.0)
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rotation = rotation
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.blur = blur

    def draw(self, generator: np.random.Generator, frame: Size, size: Size) -> Draw:
        """Draw the changes of one item: of a frame of that size to a patch of `size`, which is not larger."""
        enlarge, down, right, mirror, tip, turn, *colours, blur = generator.random(11)
        height, width = self._cut(float(enlarge), frame, size)
        either_way = 2.0 * np.array([turn, *colours]) - 1.0
        ranges = (self.rotation, self.brightness, self.contrast, self.saturation, self.hue)
        angle, brightness, contrast, saturation, hue = (either_way * ranges).tolist()
        return Draw(
            size=size,
            top=int(down * (frame[0] - height + 1)),
            left=int(right * (frame[1] - width + 1)),
            height=height,
            width=width,
            mirror=bool(mirror < self.horizontal_flip),
            tip=bool(tip < self.vertical_flip),
            colour=Colour(1.0 + brightness, 1.0 + contrast, 1.0 + saturation, hue),
            angle=angle,
            blur=float(blur) * self.blur,
        )

    def _cut(self, share: float, frame: Size, size: Size) -> Size:
        """Height and width of the piece that becomes the patch."""
        least, largest = self.enlargement
        factor = max(least * (largest / least) ** share, size[0] / frame[0], size[1] / frame[1])
        height, width = (min(max(1, round(side / factor)), most) for side, most in zip(size, frame, strict=True))
        return height, width
