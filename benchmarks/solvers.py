"""Time, accuracy and failures of the solvers behind the strategies, against what others solve the same problems with.

    pip install --no-deps torchjd==0.18 ecos qpsolvers quadprog     # beside coral-mtl[solvers]; all of them optional
    OMP_NUM_THREADS=1 python benchmarks/solvers.py [--sizes 7 40] [--matrices 3] [--by-family]

All solvers of a problem get the same matrices, one after the other, matrix by matrix, in one run; every peer is built
and called once before its clock starts. `ms` is the median time of a call, `ratio` the median of the peer's time over
ours on the same matrix, `error` the largest |d - d*| / |d*| with d* our direction, `least cos` the least cosine between
d and a gradient; both leave out the stationary family, where d* is zero. For ours `error` is the largest residual that
the solver itself reports. `failed` counts exceptions and answers that are not finite.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from coral_mtl.engine.gradient_strategies.grad_vac import GradVac
from coral_mtl.engine.observation import Observation
from coral_mtl.engine.pcgrad import PCGrad
from coral_mtl.engine.solvers.alpha_fair import alpha_fair
from coral_mtl.engine.solvers.cagrad import cagrad
from coral_mtl.engine.solvers.dual_cone import dual_cone
from coral_mtl.engine.solvers.min_norm import min_norm
from coral_mtl.engine.solvers.nash import nash
from coral_mtl.engine.strategy import GradientStrategy

Solve = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]
"""(gradients, Gram matrix) -> (weights on the gradients, residual or NaN where none is reported)."""

WIDTH = 100
"""Columns of the table, so that it is whole where the output is no terminal."""

REPEATS, SLOW = 5, 0.01
"""A solver is timed this often on every matrix, and the median counts, unless its first call took so many seconds."""


def random(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Standard normal gradients."""
    return generator.standard_normal((tasks, 2 * tasks + 16))


def ill_conditioned(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """A Gram matrix of condition 1e8."""
    left, _, right = np.linalg.svd(random(generator, tasks), full_matrices=False)
    return left @ np.diag(np.logspace(0, -4, tasks)) @ right


def scaled(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Norms from 1e-6 to 1e6."""
    return random(generator, tasks) * np.logspace(-6, 6, tasks)[:, None]


def conflict(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """95 % of what the gradients have in common is gone."""
    gradients = random(generator, tasks)
    return gradients - 0.95 * gradients.mean(axis=0)


def conflict_scaled(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Conflict, and norms from 0.01 to 100."""
    return conflict(generator, tasks) * np.logspace(-2, 2, tasks)[:, None]


def small(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """Conflict, and norms of 1e-3."""
    return 1e-3 * conflict(generator, tasks)


def repeated(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """The last gradient is the first."""
    gradients = random(generator, tasks)
    gradients[-1] = gradients[0]
    return gradients


def nearly_stationary(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """A convex combination of the gradients has a norm of 1e-4 of theirs."""
    gradients = stationary(generator, tasks)
    shift = generator.standard_normal(gradients.shape[1])
    return gradients + 1e-4 * shift / np.linalg.norm(shift)


def stationary(generator: np.random.Generator, tasks: int) -> np.ndarray:
    """A convex combination of the gradients is zero."""
    gradients = random(generator, tasks)
    gradients /= np.linalg.norm(gradients, axis=1, keepdims=True)
    weights = generator.dirichlet(np.ones(tasks)) + 0.2
    return gradients - weights @ gradients / weights.sum()


FAMILIES = (
    random,
    ill_conditioned,
    scaled,
    conflict,
    conflict_scaled,
    small,
    repeated,
    nearly_stationary,
    stationary,
)


@dataclass
class Score:
    """What one solver did on some matrices."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, other: "Score") -> None:
        self.seconds += other.seconds
        self.ratios += other.ratios
        self.errors += other.errors
        self.cosines += other.cosines
        self.failed += other.failed

    def cells(self) -> list[str]:
        return [
            f"{1e3 * statistics.median(self.seconds):.3f}" if self.seconds else "",
            f"{statistics.median(self.ratios):.2f}" if self.ratios else "",
            f"{max(self.errors):.0e}" if self.errors else "",
            f"{min(self.cosines):+.0e}" if self.cosines else "",
            str(self.failed),
        ]


@dataclass(frozen=True)
class Problem:
    """What is solved: our solver, the peers by name (each built for a number of tasks), whether d is unique."""

    ours: Callable[[int], Solve]
    peers: dict[str, Callable[[int], Solve]]
    comparable: bool = True


def of_solver(solve: Callable[[np.ndarray], object]) -> Callable[[int], Solve]:
    """One of our solvers on the Gram matrix."""

    def run(gradients: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, float]:
        solution = solve(gram)
        return solution.weights, solution.residual

    return lambda tasks: run


def of_strategy(build: Callable[[], GradientStrategy]) -> Callable[[int], Solve]:
    """One of our strategies that solve nothing."""

    def make(tasks: int) -> Solve:
        strategy = build()
        names = tuple(map(str, range(tasks)))
        return lambda gradients, gram: (strategy.solve(Observation(names, np.ones(tasks), gram)).coefficients, np.nan)

    return make


def torchjd(build: Callable[[object], Callable[[torch.Tensor], torch.Tensor]], *, on_gram: bool = True) -> dict:
    """TorchJD's method of the same name, if it is installed."""
    if find_spec("torchjd") is None:
        return {}

    def make(tasks: int) -> Solve:
        import torchjd.aggregation  # noqa: PLC0415 - an optional peer

        weighting = build(torchjd.aggregation) if on_gram else build(torchjd.aggregation)(tasks)
        return lambda gradients, gram: (weighting(torch.from_numpy(gram if on_gram else gradients)).numpy(), np.nan)

    return {"TorchJD": make}


def clarabel(constrain: Callable[[object, object, int], list]) -> dict:
    """The least |G'w| under constraints on w, by cvxpy and Clarabel, stated anew for every matrix as in TorchJD."""
    if find_spec("cvxpy") is None:
        return {}

    def solve(gradients: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, float]:
        import cvxpy  # noqa: PLC0415 - an optional peer

        weights = cvxpy.Variable(len(gram))
        program = cvxpy.Problem(
            cvxpy.Minimize(cvxpy.sum_squares(gradients.T @ weights)), constrain(cvxpy, weights, len(gram))
        )
        program.solve(cvxpy.CLARABEL)
        return np.asarray(weights.value, dtype=float), np.nan

    return {"cvxpy/Clarabel": lambda tasks: solve}


def cvxopt(lower: float) -> dict:
    """The least w'Mw by cvxopt: on the simplex with `lower` 0, else over w >= lower / T."""
    if find_spec("cvxopt") is None:
        return {}

    def solve(gradients: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, float]:
        from cvxopt import matrix, solvers  # noqa: PLC0415 - an optional peer

        size = len(gram)
        bounds = matrix(-np.eye(size)), matrix(np.full(size, -lower / size))
        sums = () if lower else (matrix(np.ones((1, size))), matrix(1.0))
        result = solvers.qp(matrix(gram), matrix(np.zeros(size)), *bounds, *sums, options={"show_progress": False})
        return np.array(result["x"]).ravel(), np.nan

    return {"cvxopt": lambda tasks: solve}


def quadprog(combinations: Callable[[int], np.ndarray]) -> dict:
    """The sum of argmin v'Mv over v >= u, for every row u of `combinations`, with 1e-12 of the trace added to M."""
    if find_spec("quadprog") is None:
        return {}

    def solve(gradients: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, float]:
        from quadprog import solve_qp  # noqa: PLC0415 - an optional peer

        size = len(gram)
        matrix = gram / np.trace(gram) + 1e-12 * np.eye(size)
        return sum(solve_qp(matrix, np.zeros(size), np.eye(size), u)[0] for u in combinations(size)), np.nan

    return {"quadprog": lambda tasks: solve}


def mean_row(size: int) -> np.ndarray:
    """(1, T): the mean of the gradients as one combination."""
    return np.full((1, size), 1.0 / size)


def each_row(size: int) -> np.ndarray:
    """(T, T): every gradient's share of the mean as a combination of its own."""
    return np.eye(size) / size


def problems() -> dict[str, Problem]:
    """All problems, with the peers that are installed."""
    return {
        "NashMTL": Problem(
            of_solver(nash), torchjd(lambda jd: lambda tasks: jd.NashMTL(tasks, max_norm=0.0).weighting, on_gram=False)
        ),
        "MGDA": Problem(
            of_solver(min_norm),
            torchjd(lambda jd: jd.MGDAWeighting())
            | clarabel(lambda cp, w, size: [w >= 0, cp.sum(w) == 1])
            | cvxopt(lower=0.0),
        ),
        "CAGrad": Problem(of_solver(lambda gram: cagrad(gram, 0.4)), torchjd(lambda jd: jd.CAGradWeighting(0.4))),
        "FairGrad": Problem(
            of_solver(lambda gram: alpha_fair(gram, 2.0)), torchjd(lambda jd: jd.FairGradWeighting(2.0))
        ),
        "UPGrad": Problem(
            of_solver(lambda gram: dual_cone(gram, each_row(len(gram)))),
            torchjd(lambda jd: jd.UPGradWeighting()) | quadprog(each_row),
        ),
        "DualProj": Problem(
            of_solver(lambda gram: dual_cone(gram, mean_row(len(gram)))),
            torchjd(lambda jd: jd.DualProjWeighting())
            | clarabel(lambda cp, w, size: [w >= 1.0 / size])
            | cvxopt(lower=1.0)
            | quadprog(mean_row),
        ),
        "PCGrad": Problem(
            of_strategy(lambda: PCGrad(reduction="sum")), torchjd(lambda jd: jd.PCGradWeighting()), comparable=False
        ),
        "GradVac": Problem(
            of_strategy(lambda: GradVac(reduction="sum")), torchjd(lambda jd: jd.GradVacWeighting()), comparable=False
        ),
    }


@dataclass(frozen=True)
class Answer:
    """One call: how long it took, and the weights; None where it raised or they are not finite."""

    seconds: float
    weights: np.ndarray | None
    residual: float = np.nan


def compare(problem: Problem, family: Callable, tasks: int, matrices: int) -> dict[str, Score]:
    """Solve the same matrices with all, and return what each did."""
    generator = np.random.default_rng([tasks, FAMILIES.index(family)])
    ours = problem.ours(tasks)
    peers = {name: make(tasks) for name, make in problem.peers.items()}
    warm_up = random(generator, tasks)
    for solve in (ours, *peers.values()):
        attempt(solve, warm_up)
    scores = {name: Score() for name in ("ours", *peers)}
    for _ in range(matrices):
        gradients = family(generator, tasks)
        found = repeated_attempts(ours, gradients)
        reference = found.weights if problem.comparable and family is not stationary else None
        record(scores["ours"], found, gradients, reference)
        for name, solve in peers.items():
            answer = repeated_attempts(solve, gradients)
            record(scores[name], answer, gradients, reference)
            scores[name].ratios += [] if answer.weights is None else [answer.seconds / found.seconds]
    return scores


def repeated_attempts(solve: Solve, gradients: np.ndarray) -> Answer:
    """The first answer, with the median time of several calls; a slow one is called once."""
    answers = [attempt(solve, gradients)]
    while len(answers) < REPEATS and answers[0].seconds < SLOW:
        answers.append(attempt(solve, gradients))
    return replace(answers[0], seconds=statistics.median(answer.seconds for answer in answers))


def attempt(solve: Solve, gradients: np.ndarray) -> Answer:
    """Time one call."""
    gram = gradients @ gradients.T
    start = perf_counter()
    try:
        weights, residual = solve(gradients, gram)
    except Exception:  # noqa: BLE001 - whatever a peer raises counts as one failure
        return Answer(perf_counter() - start, None)
    return Answer(perf_counter() - start, weights if np.isfinite(weights).all() else None, residual)


def record(score: Score, answer: Answer, gradients: np.ndarray, reference: np.ndarray | None) -> None:
    """Add one answer to a score; `reference` are the weights of the direction it is compared with."""
    if answer.weights is None:
        score.failed += 1
        return
    score.seconds.append(answer.seconds)
    if reference is None:
        return
    direction, wanted = answer.weights @ gradients, reference @ gradients
    length = float(np.linalg.norm(direction))
    error = float(np.linalg.norm(direction - wanted) / np.linalg.norm(wanted))
    score.errors.append(error if np.isnan(answer.residual) else answer.residual)
    score.cosines.append(float((gradients @ direction / np.linalg.norm(gradients, axis=1)).min()) / (length or 1.0))


def rows(sizes: list[int], matrices: int, by_family: bool) -> Iterator[list[str]]:
    """The rows of the table."""
    for name, problem in problems().items():
        for tasks in sizes:
            total: dict[str, Score] = {}
            for family in FAMILIES:
                for solver, score in compare(problem, family, tasks, matrices).items():
                    if by_family:
                        yield [name, str(tasks), family.__name__, solver, *score.cells()]
                    total.setdefault(solver, Score()).add(score)
            for solver, score in total.items():
                yield [name, str(tasks), "all", solver, *score.cells()]


def main() -> None:
    """Compare all problems, sizes and families, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 3, 7, 20, 40, 64], help="numbers of tasks")
    parser.add_argument("--matrices", type=int, default=3, help="matrices of each family and size (default 3)")
    parser.add_argument("--by-family", action="store_true", help="a row for every family, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=WIDTH)
    missing = [name for name in ("torchjd", "cvxpy", "cvxopt", "quadprog") if find_spec(name) is None]
    if missing:
        console.print(f"not installed, and left out: {', '.join(missing)}")
    table = Table("problem", "T", "family", "solver", "ms", "ratio", "error", "least cos", "failed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn about accuracy, which the table shows
        for cells in rows(arguments.sizes, arguments.matrices, arguments.by_family):
            table.add_row(*cells)
    console.print(table)


if __name__ == "__main__":
    main()
