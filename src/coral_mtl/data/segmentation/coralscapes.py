"""Coralscapes: reefs of the Red Sea with a class for every pixel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from coral_mtl import registry
from coral_mtl.data.segmentation.augmentations import Augmentations
from coral_mtl.data.segmentation.definitions import Labels, read_tasks
from coral_mtl.data.segmentation.folders import cityscapes_frames, patch_frames
from coral_mtl.data.segmentation.frames import Frames, check_size
from coral_mtl.data.segmentation.hub import hub_frames
from coral_mtl.data.segmentation.items import DrawnPatches, Presentation, WholeFrames
from coral_mtl.data.segmentation.pictures import require_pillow
from coral_mtl.data.segmentation.splitting import TaskSplitter
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError
from coral_mtl.options import PositiveInt

LABELS = Labels(count=40, unlabeled=0)


@registry.data.register
class Coralscapes:
    """Frames of coral reefs with 39 benthic classes (Sauder et al. 2025, arXiv:2503.20000), as the tasks of a file.

    Frames come from a folder in the layout of Cityscapes, with the splits `train` and `val`, or from the Hugging Face
    hub, with the splits `train` and `validation`. Training may use patches that were cut beforehand in their place.
    Every file is read once here, so that a damaged one is found before training starts; a frame of 2048 x 1024 pixels
    takes about 60 ms of one processor, and all processors share the work.

    Items are (image (3, H, W) float32, {task: (H, W) int64}). Validation items are whole frames.
    """

    def __init__(
        self,
        augmentations: Augmentations | None = None,
        *,
        tasks: Path,
        path: Path | None = None,
        hub_dataset: str | None = None,
        pds_train_path: Path | None = None,
        patch_size: PositiveInt | None = None,
        ignore_unlabeled: bool = True,
        normalise: bool = True,
    ) -> None:
        """Find all frames, and read each once.

        Args:
            augmentations: random changes of the training items (default none).
            tasks: the file that defines the tasks, such as configs/segmentation/coralscapes_tasks.yaml.
            path: folder with `leftImg8bit` and `gtFine` (default null: the frames are on the hub).
            hub_dataset: data set on the Hugging Face hub with the columns `image` and `label`, such as
                `EPFL-ECEO/coralscapes` (default null: the frames are in `path`).
            pds_train_path: folder with `images` and `masks` of equally named patches to train on (default null: train
                on the frames of the split `train`).
            patch_size: side of the square that is cut at a random place from every frame or patch in training, in
                pixels (default null: train on whole ones).
            ignore_unlabeled: whether pixels that nobody has labelled (id 0) count in no loss and no metric; where they
                do count, they belong to class 0 of the tasks that list id 0, with the ids that a task does not list
                (default true).
            normalise: whether images have the mean and deviation of ImageNet; otherwise they go from 0 to 1 (default
                true).

        Raises:
            ConfigError: not one of `path` and `hub_dataset` is given.
            DataError: a file is damaged, missing or does not fit, or the task definitions have problems.
            MissingExtraError: pillow, or datasets for frames on the hub, is not installed.
        """
        if (path is None) == (hub_dataset is None):
            given = "both" if path is not None else "none"
            raise ConfigError(
                f"frames come from path or from hub_dataset, and {given} of the two is given\n    give one",
                option="path",
            )
        require_pillow("Coralscapes")
        self.augmentations = augmentations
        self.tasks = self.task_specs(tasks=tasks, ignore_unlabeled=ignore_unlabeled)
        present = Presentation(TaskSplitter(self.tasks), normalise)
        validation = _frames(path, hub_dataset, validation=True)
        check_size(validation, None)
        training = _frames(path, hub_dataset) if pds_train_path is None else patch_frames(pds_train_path, LABELS)
        size = check_size(training, patch_size)
        self.train = DrawnPatches(training, present, augmentations or Augmentations(), size)
        self.validation = WholeFrames(validation, present)
        self.input_shape = (3, *size)

    @staticmethod
    def task_specs(*, tasks: Path, ignore_unlabeled: bool = True, **options: Any) -> dict[str, TaskSpec]:
        """Return the tasks of the file by name; no frame is looked for."""
        return read_tasks(tasks, replace(LABELS, ignore_unlabeled=ignore_unlabeled))


def _frames(path: Path | None, hub_dataset: str | None, *, validation: bool = False) -> Frames:
    if path is not None:
        return cityscapes_frames(path, "val" if validation else "train", LABELS)
    return hub_frames(str(hub_dataset), "validation" if validation else "train", LABELS)
