"""The files of Fashion-MNIST (Xiao et al. 2017), as Debian's package dataset-fashion-mnist puts them."""

import gzip
from pathlib import Path
from typing import Literal

import numpy as np

from coral_mtl.errors import DataError
from coral_mtl.unreadable import UNREADABLE, reason

FOLDER = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
CLASSES = ("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")

Split = Literal["train", "t10k"]
"""As in the names of the files: 60,000 images to train on, and 10,000 to test on."""


def read_images(split: Split, count: int, folder: Path | None = None) -> np.ndarray:
    """Return the first `count` images, (count, 28, 28) bytes from 0 (background) to 255.

    Raises:
        DataError: the file is missing or damaged, or holds fewer images.
    """
    content = _read(folder, f"{split}-images-idx3-ubyte.gz", header=16, size=count * SIDE * SIDE)
    return content.reshape(count, SIDE, SIDE)


def read_labels(split: Split, count: int, folder: Path | None = None) -> np.ndarray:
    """Return the first `count` labels, (count,) positions in `CLASSES`; raise DataError as `read_images` does."""
    return _read(folder, f"{split}-labels-idx1-ubyte.gz", header=8, size=count).astype(np.int64)


def _read(folder: Path | None, name: str, *, header: int, size: int) -> np.ndarray:
    file = (folder or FOLDER) / name
    try:
        with gzip.open(file) as stream:
            content = np.frombuffer(stream.read(header + size), dtype=np.uint8)[header:]
    except FileNotFoundError:
        raise DataError(
            f"there is no file {file}\n    install it with: apt-get install dataset-fashion-mnist (Debian, Ubuntu), or "
            "give a folder that holds the four files of Fashion-MNIST",
            option="path",
        ) from None
    except UNREADABLE as problem:
        raise DataError(f"{file} is damaged, or no gzip file: {reason(problem)}", option="path") from problem
    if len(content) < size:
        raise DataError(f"{file} holds too little: {len(content)} bytes in place of {size}\n    ask for fewer items")
    return content
