"""Time and accuracy of Nash-MTL's weights: coral_mtl's Newton method against TorchJD's `NashMTL`, in one run.

    pip install --no-deps torchjd==0.18 ecos qpsolvers quadprog     # beside coral-mtl[solvers]
    OMP_NUM_THREADS=1 python benchmarks/nash_solver.py

Both get the same gradient matrices, one after the other, matrix by matrix. TorchJD's object is built and called once
before the clock starts, so that compiling its problem does not count, and keeps its warm start from matrix to matrix,
which is how it is used in training. The residual is max_i |a_i (Ma)_i - 1|, which both set out to make zero.
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torchjd.aggregation import NashMTL

from coral_mtl.engine.solvers.nash import nash

SIZES = (3, 7, 20)
DIMENSION = 200
REPEATS = 5
"""Our solve is timed this often on every matrix, and the median counts: it is too short for one reading."""


@dataclass
class Score:
    """What one solver did on a family of matrices: seconds and residual of each."""

    seconds: list[float] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)

    def add(self, seconds: float, weights: np.ndarray, gram: np.ndarray) -> None:
        self.seconds.append(seconds)
        self.residuals.append(float(np.abs(weights * (gram @ weights) - 1.0).max()))


def balanced(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Independent gradients of one length."""
    return generator.standard_normal((tasks, DIMENSION))


def unbalanced(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Independent gradients whose lengths span four decades."""
    return balanced(generator, tasks) * np.logspace(-2, 2, tasks)[:, None]


def conflicting(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Gradients that lost 95 % of what they have in common."""
    gradients = balanced(generator, tasks)
    return gradients - 0.95 * gradients.mean(axis=0)


FAMILIES: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (balanced, unbalanced, conflicting)


def compare(family: Callable[[np.random.Generator, int], np.ndarray], tasks: int, matrices: int) -> tuple[Score, Score]:
    """Solve the same matrices with both."""
    generator = np.random.default_rng([tasks, FAMILIES.index(family)])
    peer = NashMTL(n_tasks=tasks, max_norm=0.0).weighting
    peer(torch.from_numpy(balanced(generator, tasks)))
    ours, theirs = Score(), Score()
    for _ in range(matrices):
        gradients = family(generator, tasks)
        gram = gradients @ gradients.T
        ours.add(typical(lambda gram=gram: nash(gram)), nash(gram).weights, gram)
        start = perf_counter()
        weights = peer(torch.from_numpy(gradients))
        theirs.add(perf_counter() - start, weights.numpy(), gram)
    return ours, theirs


def typical(solve: Callable[[], object]) -> float:
    """The median of `REPEATS` times that `solve` takes."""
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        solve()
        times.append(perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Compare all families and sizes, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=int, default=20, help="matrices of each family and size (default 20)")
    matrices = parser.parse_args().matrices
    table = Table("family", "T", "ours ms", "TorchJD ms", "ratio", "our residual", "its residual")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy, on solutions of TorchJD's that may be inaccurate
        for family in FAMILIES:
            for tasks in SIZES:
                ours, theirs = compare(family, tasks, matrices)
                table.add_row(
                    family.__name__,
                    str(tasks),
                    f"{1e3 * np.median(ours.seconds):.3f}",
                    f"{1e3 * np.median(theirs.seconds):.1f}",
                    f"{np.median(np.array(theirs.seconds) / np.array(ours.seconds)):.0f}",
                    f"{max(ours.residuals):.0e}",
                    f"{max(theirs.residuals):.0e}",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
