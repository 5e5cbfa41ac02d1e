"""CamVid: street scenes with a class for every pixel, small enough for first trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coral_mtl import registry
from coral_mtl.data.segmentation.augmentations import Augmentations
from coral_mtl.data.segmentation.definitions import Labels, read_tasks
from coral_mtl.data.segmentation.frames import Frame, check_size, labelled
from coral_mtl.data.segmentation.items import DrawnPatches, Presentation, WholeFrames
from coral_mtl.data.segmentation.splitting import TaskSplitter
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import DataError
from coral_mtl.options import PositiveInt
from coral_mtl.unreadable import UNREADABLE, reason

LABELS = Labels(count=12, unlabeled=11)


@registry.data.register
class CamVid:
    """Frames of street scenes with 11 classes and void (Brostow et al. 2009), as the tasks of a file.

    Frames come from two arrays of bytes in NumPy files, `camvid_train_*.npz` and `camvid_val_*.npz`: `images`
    (N, H, W, 3), `labels` (N, H, W) and `names` (N,). Void pixels (id 11) count in no loss and no metric; a task that
    lists id 11 has as its class 0 the pixels of the ids that it does not list. No extra package is needed.

    Items are (image (3, H, W) float32, {task: (H, W) int64}). Validation items are whole frames.
    """

    def __init__(
        self,
        augmentations: Augmentations | None = None,
        *,
        tasks: Path,
        path: Path,
        patch_size: PositiveInt | None = None,
        normalise: bool = True,
    ) -> None:
        """Read all frames.

        Args:
            augmentations: random changes of the training items (default none).
            tasks: the file that defines the tasks, such as configs/segmentation/camvid_tasks.yaml.
            path: folder with the two files.
            patch_size: side of the square that is cut at a random place from every frame in training, in pixels
                (default null: train on whole ones).
            normalise: whether images have the mean and deviation of ImageNet; otherwise they go from 0 to 1 (default
                true).

        Raises:
            DataError: a file is damaged, missing or does not fit, or the task definitions have problems.
        """
        self.augmentations = augmentations
        self.tasks = self.task_specs(tasks=tasks)
        present = Presentation(TaskSplitter(self.tasks), normalise)
        training, validation = (ArrayFrames(_file(path, split), LABELS) for split in ("train", "val"))
        size = check_size(training, patch_size)
        check_size(validation, None)
        self.train = DrawnPatches(training, present, augmentations or Augmentations(), size)
        self.validation = WholeFrames(validation, present)
        self.input_shape = (3, *size)

    @staticmethod
    def task_specs(*, tasks: Path, **options: Any) -> dict[str, TaskSpec]:
        """Return the tasks of the file by name; no frame is looked for."""
        return read_tasks(tasks, LABELS)


class ArrayFrames:
    """Frames in the arrays `images`, `labels` and `names` of a NumPy file."""

    def __init__(self, file: Path, labels: Labels) -> None:
        """Read the file; raise DataError where it is damaged or its arrays do not fit together."""
        arrays = _arrays(file)
        images, ids, names = (arrays.get(name, np.empty(0)) for name in ("images", "labels", "names"))
        fits = images.dtype == ids.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
        if not fits or images.shape[:3] != ids.shape or names.shape != images.shape[:1] or not images.size:
            held = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
            raise DataError(
                f"{file} holds {held or 'nothing'}\n"
                "    expected bytes images (N, H, W, 3) and labels (N, H, W), and names (N,)"
            )
        self.names: Sequence[str] = [f"{file}[{index}] ({name})" for index, name in enumerate(names)]
        self._images = images
        self._ids = ids
        self._labels = labels

    def __getitem__(self, index: int) -> Frame:
        return labelled(self._images[index], self._ids[index], self.names[index], self._labels)


def _file(folder: Path, split: str) -> Path:
    found = sorted(folder.glob(f"camvid_{split}_*.npz"))
    if len(found) != 1:
        count = f"{len(found)} files" if found else "no file"
        raise DataError(f"{folder} has {count} camvid_{split}_*.npz\n    give a folder with one", option="path")
    return found[0]


def _arrays(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except UNREADABLE as problem:
        raise DataError(f"{file} is damaged, or no file of arrays: {reason(problem)}") from problem
