"""Pictures of what was predicted: the image, what is true and what was predicted, side by side, with a legend."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coral_mtl.errors import MissingExtraError
from coral_mtl.evaluation.images import EvaluatedImage, Segmented, picture_of
from coral_mtl.evaluation.palette import palette

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

Colour = tuple[int, int, int]

PANEL = 640
"""Width of each of the three pictures at most, in pixels; smaller images are enlarged towards it by whole factors."""

_OPACITY = 0.7
_GAP = 10
_LINE = 24
_TEXT = 15
_INK, _PAPER, _GREY, _NO_LABEL = (30, 30, 30), (255, 255, 255), (128, 128, 128), (225, 225, 225)
_STRIPE = 8


class Overlays:
    """Draws every task of some images of a split, evenly spread over it, as `<number>_<task>.png`.

    Classes are painted over a grey copy of the image. What a task leaves over, such as `unlabeled`, is not painted;
    elements without a label are striped. The classes are those that the task is judged by first: its groups, if any.
    """

    def __init__(self, folder: Path, *, images: int, most: int) -> None:
        """Draw into `folder`.

        Args:
            images: number of images in the split.
            most: how many of them to draw at most.

        Raises:
            MissingExtraError: Pillow is not installed.
        """
        if find_spec("PIL") is None:
            raise MissingExtraError("an evaluation with overlays", "pillow", "segmentation")
        self._folder = folder
        self._chosen = set(np.linspace(0, images - 1, min(images, most)).round().astype(int).tolist())
        self._digits = len(str(images - 1))

    def add(self, image: EvaluatedImage) -> None:
        """Draw an image, if it is one of the chosen."""
        if image.index not in self._chosen:
            return
        self._folder.mkdir(exist_ok=True)
        picture = picture_of(image.inputs)
        for task, levels in image.tasks.items():
            drawn = draw(picture, next(iter(levels.values())), f"{task}: {image.name}")
            drawn.save(self._folder / f"{image.index:0{self._digits}}_{task}.png")


def draw(picture: np.ndarray, segmented: Segmented, title: str) -> "Image":
    """Return the picture (H, W, 3) beside its true and its predicted classes, with a title and a legend."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 (an optional extra)

    classes = (segmented.true, segmented.predicted)
    panels = [_scaled(each) for each in (picture, *(painted(picture, each, segmented.level.named) for each in classes))]
    width, height = panels[0].size
    font = ImageFont.load_default(_TEXT)
    legend = _legend(segmented, 3 * width + 2 * _GAP, font)
    sheet = Image.new("RGB", (3 * width + 4 * _GAP, height + (len(legend) + 2) * _LINE + 3 * _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), title, _INK, font)
    top = _GAP + _LINE
    for column, (name, panel) in enumerate(zip(("image", "true", "predicted"), panels, strict=True)):
        left = _GAP + column * (width + _GAP)
        pen.text((left, top), name, _INK, font)
        sheet.paste(panel, (left, top + _LINE))
    top += _LINE + height + _GAP
    for line, entries in enumerate(legend):
        for left, colour, label in entries:
            box = (left, top + line * _LINE, left + 28, top + line * _LINE + 16)
            pen.rectangle(box, colour, _INK)
            pen.text((left + 34, top + line * _LINE), label, _INK, font)
    return sheet


def painted(picture: np.ndarray, classes: np.ndarray, named: tuple[bool, ...]) -> np.ndarray:
    """Return (H, W, 3) bytes: the named classes in their colours over a grey copy of the picture, -1 striped."""
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    over = np.array(named)[classes] & (classes >= 0)
    colours = palette(len(named))[classes]
    sheet = np.where(over[..., None], (1.0 - _OPACITY) * grey + _OPACITY * colours, grey)
    rows, columns = np.indices(classes.shape)
    striped = (classes < 0) & ((rows + columns) // _STRIPE % 2 == 0)
    sheet[striped] = _NO_LABEL
    return sheet.round().astype(np.uint8)


def _scaled(picture: np.ndarray) -> "Image":
    """Return the picture no wider than a panel, or enlarged by a whole factor that fits into one."""
    from PIL import Image  # noqa: PLC0415 (an optional extra)

    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    if width > PANEL:
        return image.resize((PANEL, max(1, round(height * PANEL / width))), Image.Resampling.BOX)
    factor = PANEL // width
    return image.resize((factor * width, factor * height), Image.Resampling.NEAREST)


def _legend(segmented: Segmented, width: int, font: "FreeTypeFont | BitmapFont") -> list[list[tuple[int, Colour, str]]]:
    """Return lines of (left edge, colour, label) for the classes that are in one of the two pictures."""
    lines: list[list[tuple[int, Colour, str]]] = [[]]
    left = _GAP
    for colour, label in _entries(segmented):
        length = 34 + round(font.getlength(label)) + 2 * _GAP
        if lines[-1] and left + length > width:
            lines.append([])
            left = _GAP
        lines[-1].append((left, colour, label))
        left += length
    return lines


def _entries(segmented: Segmented) -> Iterator[tuple[Colour, str]]:
    level = segmented.level
    colours = palette(level.size).tolist()
    present = np.union1d(segmented.true, segmented.predicted).tolist()
    for index in (index for index in present if index >= 0):
        if level.named[index]:
            yield tuple(colours[index]), level.labels[index]
        else:
            yield _GREY, f"{level.labels[index]} (not painted)"
    if -1 in present:
        yield _NO_LABEL, "no label (striped)"
