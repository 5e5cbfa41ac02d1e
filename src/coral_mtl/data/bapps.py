"""Triplets of images with the votes of human judges, in the folders of the BAPPS data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError, MissingExtraError
from coral_mtl.options import PositiveInt
from coral_mtl.unreadable import UNREADABLE, reason

Item = tuple[torch.Tensor, dict[str, torch.Tensor]]

IMAGES = ("ref", "p0", "p1")
"""Folders of the reference and of the two distorted images."""
VOTES = "judge"
SUFFIXES = (".png", ".npy")
PAGE = "https://github.com/richzhang/PerceptualSimilarity"
"""Where the authors offer the data."""


@registry.data.register
class BAPPS:
    """Items (images (3, 3, size, size) from -1 to 1, {"judge": votes}): a patch, two spoilt copies, people's votes.

    The two-alternative part of BAPPS (Zhang et al. 2018): `votes` is the share of the judges who found the second copy
    more like the patch, of 2 judges in training and 5 in validation. The folder `path` has the folders
    `train/<distortion>` and `val/<distortion>`, each as JudgedTriplets reads them. Nothing is downloaded: the 6.6 GB
    come with the script scripts/download_dataset.sh of https://github.com/richzhang/PerceptualSimilarity, which makes
    the folder dataset/2afc. Other judgements in these folders will do as well.
    """

    def __init__(
        self,
        *,
        path: Path,
        train: Sequence[str] = ("traditional", "cnn", "mix"),
        validation: Sequence[str] = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp"),
        size: PositiveInt = 64,
    ) -> None:
        """Find the triplets; images are read when they are asked for.

        Args:
            path: the folder 2afc, with the folders train and val.
            train: the distortions to train on, folders of `train` (default [traditional, cnn, mix], which is all).
            validation: the distortions to validate on, folders of `val` (default [traditional, cnn, superres, deblur,
                color, frameinterp], which is all).
            size: side that images are resized to, bilinearly, in pixels (default 64).

        Raises:
            ConfigError: no distortion is named, or one is named twice.
            DataError: a folder is missing or empty, or a file has no counterpart.
            MissingExtraError: pillow is not installed.
        """
        self.train = JudgedTriplets(*_distortions(path / "train", train, "train"), size=size)
        self.validation = JudgedTriplets(*_distortions(path / "val", validation, "validation"), size=size)
        self.tasks = self.task_specs()
        self.input_shape = (len(IMAGES), 3, size, size)

    @staticmethod
    def task_specs(**options: Any) -> dict[str, TaskSpec]:
        """Return the tasks by name, which are the same whatever the options; nothing is looked for."""
        return {VOTES: TaskSpec("judgement", 2)}


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

        pixels = Image.fromarray(_bytes(file)) if file.suffix == ".npy" else _picture(file)
        if self.size is not None and pixels.size != (self.size, self.size):
            pixels = pixels.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(pixels, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1.0


def _distortions(folder: Path, names: Sequence[str], option: str) -> list[Path]:
    """Return the folders of the distortions, all of which are there."""
    if not names or len({*names}) < len(names):
        raise ConfigError(f"{option}: name one distortion or more, each once, not {list(names)}", option=option)
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}\n    give the folder 2afc of BAPPS, which the script "
            f"scripts/download_dataset.sh of {PAGE} makes",
            option="path",
        )
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        there = ", ".join(sorted(child.name for child in folder.iterdir() if child.is_dir())) or "none"
        raise DataError(f"{folder} has no folder {', '.join(missing)}\n    there are: {there}", option=option)
    return [folder / name for name in names]


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


def _picture(file: Path) -> Any:
    from PIL import Image  # noqa: PLC0415 (an optional extra)

    try:
        return Image.open(file).convert("RGB")
    except UNREADABLE as problem:
        raise DataError(f"{file} is no image: {reason(problem)}") from problem


def _array(file: Path) -> np.ndarray[Any, Any]:
    try:
        values: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
    except UNREADABLE as problem:
        raise DataError(f"{file} is no array of numbers: {reason(problem)}") from problem
    return values
