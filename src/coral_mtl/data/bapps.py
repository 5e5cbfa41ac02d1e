"""Triplets of images with the votes of human judges, in the folders of the BAPPS data set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from coral_mtl.errors import DataError, MissingExtraError

Item = tuple[torch.Tensor, dict[str, torch.Tensor]]

IMAGES = ("ref", "p0", "p1")
"""Folders of the reference and of the two distorted images."""
VOTES = "judge"
SUFFIXES = (".png", ".npy")


class JudgedTriplets(Dataset[Item]):
    """Items (images (3, 3, H, W), {"judge": ()}): a reference and two images in [-1, 1], and the votes.

    Of one or more folders `2afc/<train or val>/<distortion>`, each with `ref`, `p0` and `p1` of equally named images
    (PNG, or arrays (H, W, 3) of bytes as .npy), and `judge` with one number a file (.npy): the share of the judges who
    chose p1. Files are matched by their name without suffix, whatever their order.
    """

    def __init__(self, *folders: Path, size: int | None = 64) -> None:
        """Find the triplets; images are read when they are asked for.

        Args:
            folders: the folders, joined in this order.
            size: side that images are resized to, bilinearly; None leaves them as they are (default 64).

        Raises:
            DataError: a folder is missing or empty, or a file has no counterpart.
            MissingExtraError: pillow is not installed.
        """
        try:
            import PIL  # noqa: F401, PLC0415 (an optional extra)
        except ImportError as missing:
            raise MissingExtraError("JudgedTriplets", "pillow", "perceptual") from missing
        self.size = size
        self.triplets = [triplet for folder in folders for triplet in _triplets(Path(folder))]

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, index: int) -> Item:
        files = self.triplets[index]
        images = [self._image(files[name]) for name in IMAGES]
        if len({image.shape for image in images}) > 1:
            raise DataError(
                f"the images of {files['ref']} have the shapes {', '.join(str(tuple(i.shape)) for i in images)}"
                "\n    give a size that they are resized to"
            )
        return torch.stack(images), {VOTES: _votes(files[VOTES])}

    def _image(self, file: Path) -> torch.Tensor:
        """Return (3, H, W) in [-1, 1]."""
        from PIL import Image  # noqa: PLC0415 (an optional extra)

        try:
            pixels = Image.fromarray(_bytes(file)) if file.suffix == ".npy" else Image.open(file).convert("RGB")
        except OSError as problem:  # of which pillow's own are
            raise DataError(f"{file} is no image: {problem}") from problem
        if self.size is not None and pixels.size != (self.size, self.size):
            pixels = pixels.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(pixels, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1.0


def _triplets(folder: Path) -> list[dict[str, Path]]:
    """Return the files of each triplet of a folder by role, in the order of their names."""
    by_role = {role: _files(folder / role, SUFFIXES) for role in IMAGES} | {VOTES: _files(folder / VOTES, (".npy",))}
    names = set.union(*(set(files) for files in by_role.values()))
    missing = [f"{role}/{name}" for name in sorted(names) for role, files in by_role.items() if name not in files]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DataError(
            f"{folder}: no file {shown} (.png or .npy)\n    every triplet needs ref, p0, p1 and judge by the same name"
        )
    return [{role: files[name] for role, files in by_role.items()} for name in sorted(names)]


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}\n    a BAPPS folder has {', '.join(IMAGES)} and {VOTES}")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in suffixes:
            continue
        if file.stem in files:
            raise DataError(f"{file} and {files[file.stem].name} are both called {file.stem}\n    remove one of them")
        files[file.stem] = file
    if not files:
        raise DataError(f"{folder} has no file that ends in {' or '.join(suffixes)}")
    return files


def _votes(file: Path) -> torch.Tensor:
    values = _array(file)
    if values.size != 1 or not 0.0 <= float(values.reshape(())) <= 1.0:
        raise DataError(f"{file} holds {values!r} in place of one number from 0 (all chose p0) to 1 (all chose p1)")
    return torch.tensor(float(values.reshape(())), dtype=torch.float32)


def _bytes(file: Path) -> np.ndarray[Any, Any]:
    values = _array(file)
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype != np.uint8:
        raise DataError(f"{file} is no image: {values.dtype} {values.shape}, not bytes (H, W, 3)")
    return values


def _array(file: Path) -> np.ndarray[Any, Any]:
    try:
        values: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise DataError(f"{file} is no array of numbers: {problem}") from problem
    return values
