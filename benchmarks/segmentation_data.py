"""Time of what the segmentation data cost beside the model: reading, cutting, changing and splitting frames.

    OMP_NUM_THREADS=1 python benchmarks/segmentation_data.py --data ../shared/data/coralscapes_sample

Without --data the frame is random, which is the worst case for reading. The bar is on splitting: the seven masks of a
frame of 2048 x 1024 pixels take 20 ms or less on one core. Times are CPU time, the median and the shortest of
many runs; only the check before training, which uses all processors, is told by the clock on the wall.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from coral_mtl.data.segmentation import Augmentations
from coral_mtl.data.segmentation.coralscapes import LABELS
from coral_mtl.data.segmentation.definitions import read_tasks
from coral_mtl.data.segmentation.drawing import Draw
from coral_mtl.data.segmentation.folders import FileFrames, cityscapes_frames
from coral_mtl.data.segmentation.frames import sizes_of
from coral_mtl.data.segmentation.items import Presentation, WholeFrames
from coral_mtl.data.segmentation.splitting import TaskSplitter

TASKS = Path(__file__).parents[1] / "configs" / "segmentation" / "coralscapes_tasks.yaml"
LIMIT = 20.0
"""Milliseconds that splitting a frame may take."""

ALONE: dict[str, dict[str, Any]] = {
    "cut alone": {},
    "resized crop": {"resized_crop": (0.5, 2.0)},
    "flips": {"horizontal_flip": 1.0, "vertical_flip": 1.0},
    "rotation": {"rotation": 15.0},
    "colours": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05},
    "blur": {"blur": 1.5},
}


def milliseconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """CPU time of each run, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = process_time()
        work()
        times.append(1e3 * (process_time() - start))
    return times


def random_frames(folder: Path) -> FileFrames:
    """One frame of noise, in files."""
    generator = np.random.default_rng(0)
    pairs = (("image", 256, (1024, 2048, 3)), ("mask", 40, (1024, 2048)))
    for name, count, shape in pairs:
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, count, shape).astype(np.uint8)).save(buffer, "png")
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
    return FileFrames([(folder / "image.png", folder / "mask.png")], LABELS)


def measured(frames: FileFrames, repeats: int) -> Iterator[tuple[str, list[float]]]:
    """What is measured, and its times."""
    frame = frames[0]
    split = TaskSplitter(read_tasks(TASKS, LABELS))
    whole = WholeFrames(frames, Presentation(split, normalise=True))
    yield "split a frame into 7 masks", milliseconds(lambda: split(frame.ids), repeats)
    yield "read a frame and its mask", milliseconds(lambda: frames[0], max(3, repeats // 5))
    yield "a validation item: read, normalise, split, widen", milliseconds(lambda: whole[0], max(3, repeats // 5))
    for name, options in ALONE.items():
        generator = np.random.default_rng(0)
        draws = [Augmentations(**options).draw(generator, frame.size, (512, 512)) for _ in range(10)]

        def change(draws: list[Draw] = draws) -> None:
            for draw in draws:
                draw.of_image(frame.image)
                draw.of_mask(frame.ids)

        yield f"a patch of 512 x 512: {name}", [time / 10 for time in milliseconds(change, max(3, repeats // 5))]
    patch = frame.ids[:512, :512].contiguous()
    yield "split a patch into 7 masks", milliseconds(lambda: split(patch), repeats)


def main() -> None:
    """Measure, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in the layout of Coralscapes (default: a random frame)")
    parser.add_argument("--repeats", type=int, default=50, help="runs of each (default 50)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table("what", "median ms", "shortest ms")
    with tempfile.TemporaryDirectory() as folder:
        frames = cityscapes_frames(options.data, "train", LABELS) if options.data else random_frames(Path(folder))
        for what, times in measured(frames, options.repeats):
            verdict = "met" if np.median(times) <= LIMIT else "missed"
            bar = f" (bar {LIMIT:g}: {verdict})" if what.startswith("split a frame") else ""
            table.add_row(what + bar, f"{np.median(times):.1f}", f"{min(times):.1f}")
        start = perf_counter()
        count = len(sizes_of(frames))
        table.add_row(
            "check a frame before training, all processors", f"{1e3 * (perf_counter() - start) / count:.1f}", ""
        )
    Console().print(table)


if __name__ == "__main__":
    main()
