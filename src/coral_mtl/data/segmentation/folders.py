"""Frames in folders of PNG files: the layout of Cityscapes, and patches that were cut beforehand."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from coral_mtl.data.segmentation.definitions import Labels
from coral_mtl.data.segmentation.frames import Frame, labelled
from coral_mtl.data.segmentation.pictures import image_of, mask_of
from coral_mtl.errors import DataError


class FileFrames:
    """Frames in pairs of PNG files."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], labels: Labels) -> None:
        """Take files (image, mask); they are read when they are asked for."""
        self.names: Sequence[str] = [str(image) for image, _ in pairs]
        self._pairs = pairs
        self._labels = labels

    def __getitem__(self, index: int) -> Frame:
        image, mask = self._pairs[index]
        return labelled(
            image_of(_content(image), str(image)), mask_of(_content(mask), str(mask)), str(mask), self._labels
        )


def cityscapes_frames(root: Path, split: str, labels: Labels) -> FileFrames:
    """Find `leftImg8bit/<split>/<site>/<name>_leftImg8bit.png` and `gtFine/<split>/<site>/<name>_gtFine.png`.

    Raises:
        DataError: there are none, or a file has no counterpart.
    """
    images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    return _paired(images, "_leftImg8bit.png", masks, "_gtFine.png", labels)


def patch_frames(root: Path, labels: Labels) -> FileFrames:
    """Find `images/<name>.png` and `masks/<name>.png`.

    Raises:
        DataError: there are none, or a file has no counterpart.
    """
    return _paired(root / "images", ".png", root / "masks", ".png", labels)


def _paired(images: Path, image_ending: str, masks: Path, mask_ending: str, labels: Labels) -> FileFrames:
    by_name, mask_by_name = _files(images, image_ending), _files(masks, mask_ending)
    missing = [masks / f"{name}{mask_ending}" for name in by_name.keys() - mask_by_name.keys()]
    missing += [images / f"{name}{image_ending}" for name in mask_by_name.keys() - by_name.keys()]
    if missing:
        shown = "".join(f"\n    {file}" for file in sorted(missing)[:5])
        raise DataError(f"{len(missing)} files are missing whose counterparts are there:{shown}")
    return FileFrames([(by_name[name], mask_by_name[name]) for name in sorted(by_name)], labels)


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """The visible files with that ending in a folder and its folders, by their path within it without the ending."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found = [file for file in _visible(folder) if file.name.endswith(ending)]
    if not found:
        raise DataError(f"{folder} has no file that ends in {ending}")
    return {file.relative_to(folder).as_posix().removesuffix(ending): file for file in found}


def _visible(folder: Path) -> Iterator[Path]:
    """The files in a folder and its folders, behind links too; no file and no folder whose name begins with a dot."""
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _refuse(problem: OSError) -> NoReturn:
    raise DataError(f"{problem.filename} cannot be read: {problem.strerror}") from problem


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        _refuse(problem)
