"""Time of MGIoU and of its gradient: coral_mtl's batched form against the public package `mgiou`, in one run.

    pip install --no-deps mgiou==0.1.0     # beside coral-mtl; it declares torch as its only need
    OMP_NUM_THREADS=1 python benchmarks/polygon.py

Both get the same polygons in turn, in float32, on one thread unless told otherwise. `mgiou.MGIoU2DPlus` takes any
number of vertices, and runs all polygons at once too, by torch.vmap, with a Python loop over the axes. Times are the
shortest of many runs: whatever else the machine does only ever adds to them.
"""

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from mgiou import MGIoU2DPlus
from rich.console import Console
from rich.table import Table

from coral_mtl.losses.polygon import mean_loss, mgiou, polygon_pairs


def polygons(count: int, vertices: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets of many sizes and places, and predictions with every vertex off by a little; (count, vertices, 2)."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.arange(vertices) * (2.0 * torch.pi / vertices)
    radius = 10.0 + 90.0 * torch.rand(count, 1, 1, generator=generator)
    centre = 512.0 * torch.rand(count, 1, 2, generator=generator)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    target = centre + radius * (circle + 0.05 * torch.randn(count, vertices, 2, generator=generator))
    return target + 0.1 * radius * torch.randn(count, vertices, 2, generator=generator), target


def ours(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean loss of coral_mtl."""
    return mean_loss(mgiou(polygon_pairs(prediction, target)))


def seconds(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *shapes: torch.Tensor) -> tuple[float, float]:
    """Time of the loss, and of the loss with its gradient."""
    start = perf_counter()
    value = loss(*shapes)
    forward = perf_counter() - start
    value.backward()
    return forward, perf_counter() - start


def compare(count: int, vertices: int, repeats: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds of both, (2,) each as of `seconds`, and the largest difference of a polygon's loss."""
    prediction, target = polygons(count, vertices)
    apart = mgiou(polygon_pairs(prediction, target)).loss - MGIoU2DPlus(reduction="none")(prediction, target)
    prediction.requires_grad_()
    peer = MGIoU2DPlus()
    times = [(seconds(ours, prediction, target), seconds(peer, prediction, target)) for _ in range(repeats)]
    own, its = np.array(times).min(axis=0)
    return own, its, apart.abs().max().item()


def main() -> None:
    """Compare polygons of several kinds, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4096, help="polygons in a batch (default 4096)")
    parser.add_argument("--repeats", type=int, default=100, help="runs of each (default 100)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.empty(7_500_000)  # freed at once: from then on, as in training, glibc keeps the memory of tensors like these
    table = Table("V", "of", "ours ms", "mgiou ms", "ratio", "largest difference")
    for vertices in (4, 8, 16):
        own, its, apart = compare(options.count, vertices, options.repeats)
        for column, name in enumerate(("loss", "loss and gradient")):
            table.add_row(
                str(vertices),
                name,
                f"{1e3 * own[column]:.2f}",
                f"{1e3 * its[column]:.1f}",
                f"{its[column] / own[column]:.1f}",
                f"{apart:.0e}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
