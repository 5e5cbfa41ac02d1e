"""Frames of a data set on the Hugging Face hub, with the columns `image` and `label`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coral_mtl.data.segmentation.definitions import Labels
from coral_mtl.data.segmentation.frames import Frame, labelled
from coral_mtl.data.segmentation.pictures import image_of, mask_of
from coral_mtl.errors import DataError, MissingExtraError

COLUMNS = ("image", "label")


class HubFrames:
    """Frames in the rows of a `datasets.Dataset` whose columns `image` and `label` hold pictures."""

    def __init__(self, rows: Any, name: str, labels: Labels) -> None:
        """Take the rows of a split.

        Args:
            rows: the `datasets.Dataset`.
            name: what the split is called in messages.
            labels: the ids of the data set.

        Raises:
            DataError: a column is missing or holds no pictures, or there are no rows.
        """
        from datasets import Image  # noqa: PLC0415 (an optional extra)

        others = [column for column in COLUMNS if not isinstance(rows.features.get(column), Image)]
        if others:
            held = ", ".join(f"{column} ({type(kind).__name__})" for column, kind in rows.features.items())
            raise DataError(f"{name} has no pictures in a column {' and '.join(others)}\n    its columns: {held}")
        if not len(rows):
            raise DataError(f"{name} has no rows")
        for column in COLUMNS:
            rows = rows.cast_column(column, Image(decode=False))  # the bytes, whose checksums are looked at here
        self.names: Sequence[str] = [f"{name}[{index}]" for index in range(len(rows))]
        self._rows = rows
        self._labels = labels

    def __getitem__(self, index: int) -> Frame:
        row = self._rows[index]
        image_name, mask_name = (f"{self.names[index]}.{column}" for column in COLUMNS)
        image = image_of(_content(row["image"], image_name), image_name)
        mask = mask_of(_content(row["label"], mask_name), mask_name)
        return labelled(image, mask, mask_name, self._labels)


def hub_frames(dataset: str, split: str, labels: Labels) -> HubFrames:
    """Load a split of a data set from the hub, or from the copy of it that this machine keeps.

    Raises:
        DataError: it cannot be loaded, or has other columns.
        MissingExtraError: datasets is not installed.
    """
    try:
        import datasets  # noqa: PLC0415 (an optional extra)
    except ImportError as missing:
        raise MissingExtraError("a data set from the hub", "datasets", "datasets") from missing
    try:
        rows = datasets.load_dataset(dataset, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as problem:
        raise DataError(
            f"cannot load the split {split} of {dataset}: {problem}\n    check the name, and the connection"
        ) from problem
    return HubFrames(rows, f"{dataset} {split}", labels)


def _content(value: dict[str, Any] | None, name: str) -> bytes:
    """Return the bytes of a picture, which the row holds itself, or names the file of."""
    content, file = (value["bytes"], value["path"]) if value else (None, None)
    if content is not None:
        return bytes(content)
    if file is None:
        raise DataError(f"{name} is empty")
    try:
        return Path(file).read_bytes()
    except OSError as problem:
        raise DataError(f"{name}: {file} cannot be read: {problem.strerror}") from problem
