"""The four files of Fashion-MNIST with made-up garments: bars with a brighter half, in ten sizes."""

import gzip
from pathlib import Path

import numpy as np

SIDE = 28


def garment(label: int) -> np.ndarray:
    """A bar of 8 + label by 18 pixels, 100 in its left half and 200 in its right one."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    width, height = 8 + label, 18
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[top : top + height, left : left + width] = 100
    image[top : top + height, left + width // 2 : left + width] = 200
    return image


def write_fashion_files(folder: Path, train: int = 64, test: int = 40) -> Path:
    """Write the files into the folder and return it; labels are 0, 1, ..., 9, 0, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % 10
        images = np.stack([garment(label) for label in labels])
        _write(folder / f"{split}-images-idx3-ubyte.gz", bytes(16), images)
        _write(folder / f"{split}-labels-idx1-ubyte.gz", bytes(8), labels.astype(np.uint8))
    return folder


def _write(file: Path, header: bytes, values: np.ndarray) -> None:
    file.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=1))
