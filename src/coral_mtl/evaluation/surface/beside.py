"""The processes that measure images while the model predicts the next ones."""

import math
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context
from typing import IO, Any, Self

from coral_mtl.diagnostics.strict import dumps
from coral_mtl.errors import CoralError, MissingExtraError
from coral_mtl.evaluation.images import EvaluatedImage, Segmented
from coral_mtl.evaluation.surface.measure import FIGURES, PER_CLASS, Classes, mean, measure

SCHEMA = 1

_AHEAD = 2
"""Images that wait for each process at most; a model that is faster waits for them, so that memory stays bounded."""


class SurfaceMetrics:
    """Writes `{schema, run, index, image, tasks: {task: figures}}` a line, in the order of the images; see `measure`.

    A context that ends the processes; what was not waited for is dropped.
    """

    def __init__(self, file: IO[str], run: str, *, workers: int) -> None:
        """Start with no process; each is started when there is an image for it.

        Args:
            file: what to write to.
            run: id of the run.
            workers: number of processes.

        Raises:
            MissingExtraError: scipy or scikit-learn is not installed.
        """
        for module, package in (("scipy", "scipy"), ("sklearn", "scikit-learn")):
            if find_spec(module) is None:
                raise MissingExtraError("an evaluation with surface metrics", package, "surface-metrics")
        self._file = file
        self._run = run
        self._most = _AHEAD * workers
        # a copy of this process would have a copy of torch's threads' locks, and nobody to open them
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        self._waiting: deque[tuple[EvaluatedImage, Future[dict[str, dict[str, Any]]]]] = deque()
        self._figures: list[dict[str, dict[str, Any]]] = []

    def add(self, image: EvaluatedImage) -> None:
        """Hand an image over; wait first where too many do."""
        while len(self._waiting) >= self._most:
            self._write_first()
        tasks = {task: _classes(next(iter(levels.values()))) for task, levels in image.tasks.items()}
        self._waiting.append((image, self._pool.submit(measure, tasks)))

    def _write_first(self) -> None:
        image, future = self._waiting.popleft()
        try:
            tasks = future.result()
        except BrokenProcessPool as problem:
            raise CoralError(
                f"a process that measured {image.name} was killed, most likely for want of memory\n"
                "    take fewer of them with --workers"
            ) from problem
        line = {"schema": SCHEMA, "run": self._run, "index": image.index, "image": image.name, "tasks": tasks}
        self._file.write(f"{dumps(line)}\n")
        self._figures.append(tasks)

    def averages(self) -> dict[str, dict[str, Any]]:
        """Wait for all images; return for each task the means of its figures over the images that have them, and those
        of each class.
        """
        while self._waiting:
            self._write_first()
        tasks = dict.fromkeys(task for image in self._figures for task in image)
        return {task: _averages([image[task] for image in self._figures if task in image]) for task in tasks}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _classes(segmented: Segmented) -> Classes:
    return Classes(segmented.true, segmented.predicted, segmented.level.labels, segmented.level.named)


def _averages(images: list[dict[str, Any]]) -> dict[str, Any]:
    labels = dict.fromkeys(label for image in images for label in image["classes"])
    return {
        **{name: mean([image[name] for image in images]) for name in FIGURES},
        "classes": {label: _of_class([image["classes"].get(label) for image in images]) for label in labels},
    }


def _of_class(images: list[dict[str, float] | None]) -> dict[str, Any]:
    """The means of a class over the images that it is in, how many these are, and in how many one side alone has it."""
    known = [figures for figures in images if figures is not None]
    one_sided = sum(math.isnan(figures["ASSD"]) for figures in known)
    means = {name: mean([figures[name] for figures in known]) for name in PER_CLASS}
    return {**means, "images": len(known), "one_sided": one_sided}
