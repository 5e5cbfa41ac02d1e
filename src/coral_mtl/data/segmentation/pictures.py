"""Pictures from the bytes of their files, with every checksum looked at."""

import io
from typing import Any

import numpy as np

from coral_mtl.errors import DataError, MissingExtraError
from coral_mtl.unreadable import UNREADABLE, reason

_BIT_DEPTH = 24
"""Where a PNG says in how many bits it keeps a value: 8 bytes of signature, 8 of the chunk's head, 8 of its size."""


def require_pillow(what: str) -> None:
    """Raise MissingExtraError unless pictures can be read."""
    try:
        import PIL  # noqa: F401, PLC0415 (an optional extra)
    except ImportError as missing:
        raise MissingExtraError(what, "pillow", "segmentation") from missing


def image_of(content: bytes, name: str) -> np.ndarray[Any, Any]:
    """Return the colours (H, W, 3) uint8 of a picture.

    Raise DataError with its name where it is damaged, or where its greys are of more than a byte.
    """
    picture = _picture(content, name)
    if picture.mode.startswith(("I", "F")):
        raise DataError(
            f"{name}: an image has a byte for each colour, and the greys of this one are of mode {picture.mode}: they "
            "would be cut off at 255\n    save it with 8 bits per colour, its values scaled to 0 to 255"
        )
    return np.asarray(picture.convert("RGB"))


def mask_of(content: bytes, name: str) -> np.ndarray[Any, Any]:
    """Return the ids (H, W) uint8 of a picture with one byte per pixel; raise DataError with its name otherwise."""
    picture = _picture(content, name)
    if picture.mode not in ("L", "P"):
        raise DataError(
            f"{name}: a mask has one byte per pixel, the id of its class, and this picture is of mode {picture.mode}\n"
            "    take the masks of ids, not those that are coloured for people"
        )
    if picture.mode == "L" and picture.format == "PNG" and content[_BIT_DEPTH] != 8:
        raise DataError(
            f"{name}: a grey mask has 8 bits per pixel, and this one has {content[_BIT_DEPTH]}, which are shades up to "
            "white and no ids\n    save it with 8 bits per pixel, or with a palette"
        )
    return np.array(picture)


def _picture(content: bytes, name: str) -> Any:
    """Return the decoded picture; pillow does not compare a PNG's checksums while it decodes, so that is done first."""
    from PIL import Image  # noqa: PLC0415 (an optional extra)

    unreadable: tuple[type[Exception], ...] = (*UNREADABLE, Image.DecompressionBombError)
    try:
        Image.open(io.BytesIO(content)).verify()
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except unreadable as problem:
        raise DataError(f"{name} is damaged, or no picture: {reason(problem)}") from problem
    return picture
