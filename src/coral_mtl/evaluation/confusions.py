"""One line of JSON an image: the confusion matrices of its tasks."""

from typing import IO

import numpy as np
import torch

from coral_mtl.diagnostics.strict import dumps
from coral_mtl.evaluation.images import EvaluatedImage, Segmented
from coral_mtl.metrics.segmentation.confusion import confusion_matrix

SCHEMA = 1


class Confusions:
    """Writes `{schema, run, index, image, tasks: {task: {level: matrix}}}`; rows are true classes, columns predicted
    ones.
    """

    def __init__(self, file: IO[str], run: str) -> None:
        self._file = file
        self._run = run

    def add(self, image: EvaluatedImage) -> None:
        """Write an image's line."""
        tasks = {
            task: {level: _matrix(segmented) for level, segmented in levels.items()}
            for task, levels in image.tasks.items()
        }
        line = {"schema": SCHEMA, "run": self._run, "index": image.index, "image": image.name, "tasks": tasks}
        self._file.write(f"{dumps(line)}\n")


def _matrix(segmented: Segmented) -> np.ndarray:
    true, predicted = (torch.from_numpy(classes).long() for classes in (segmented.true, segmented.predicted))
    return confusion_matrix(true, predicted, segmented.level.size)
