"""What multi-task gradients cost: this engine, plain training and peers, on the same networks, in turns in one process.

    pip install torchjd==0.18.0 qpsolvers quadprog ecos          # optional: without them TorchJD is left out
    python benchmarks/engine.py --output benchmarks/results/engine_cpu.json                 # about half an hour
    python benchmarks/engine.py --threads 2 --output benchmarks/results/engine_cpu_2_threads.json
    python benchmarks/engine.py --nets lenet --tasks 3 --parts backward step                # seconds
    python benchmarks/engine.py --device cuda --nets resnet50 vit --tasks 3 7 --precision bfloat16 \
        --output benchmarks/results/engine_cuda_bfloat16.json                               # never run yet: no GPU here

Then `python -m coral_mtl.documentation` puts the tables into the documentation. Times are of the backward part of a
step, from the losses to `.grad`; peaks of forward and backward together.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from bars import judged
from nets import NETS, Net, Problem
from peers import MISSING, Backward, libmtl_loop, official_nash, torchjd, torchjd_nash
from quickstart import processor
from rich.console import Console
from torch import Tensor

from coral_mtl.bench.memory import peak_bytes
from coral_mtl.bench.published import bars_table, engine_table
from coral_mtl.bench.timing import Candidate, Prepared, Stopwatch, in_turns, milliseconds, unprepared
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.gradient_strategies.nash_mtl import NashMTL
from coral_mtl.engine.gram import gram_matrix
from coral_mtl.engine.observation import Decision, Observation
from coral_mtl.engine.precision import NumberFormat, Precision
from coral_mtl.engine.rows import combine, harvest, seed
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.engine.terms import named_terms
from coral_mtl.running.environment import describe_environment

CPU_NETS = ("lenet", "segformer", "segformer-heavy", "resnet", "mlp")
TASKS = (2, 3, 7, 20)
PARTS = ("backward", "peers", "step", "window", "peak", "gram", "synchronisations")
PERIOD = 10
"""Steps from one refresh to the next, where steps are timed whole."""


class EqualNorms(GradientStrategy):
    """c_t = 1 / |g_t|, scaled to the sum T: the weights that the peers form too."""

    def solve(self, observation: Observation) -> Decision:
        coefficients = 1 / observation.norms
        return Decision(coefficients * (len(coefficients) / coefficients.sum()))


class Trial:
    """One way to a gradient, on a network of its own."""

    def __init__(
        self, net: Net, tasks: int, device: torch.device, precision: Precision, way: Callable[["Trial"], Backward]
    ) -> None:
        self.problem: Problem = net.problem(tasks, device)
        self.precision = precision
        self.parameters = [*self.problem.trunk.parameters(), *self.problem.heads.parameters()]
        self.optimizer = torch.optim.SGD(self.parameters, lr=1e-4)
        self._backward = way(self)

    def losses(self) -> tuple[dict[str, Tensor], Tensor]:
        """Forget the last gradients and run the forward pass."""
        self.optimizer.zero_grad()
        with self.precision.autocast():
            return self.problem.forward()

    def prepared(self) -> Prepared:
        """Run the forward pass and return the backward pass."""
        losses, features = self.losses()
        return lambda: self._backward(self.problem, losses, features)

    def pass_through(self) -> None:
        """Run both passes, keeping no part of the graph."""
        self.prepared()()

    def step(self) -> None:
        """Take a whole step, the optimiser's included."""
        self.pass_through()
        self.precision.step(self.optimizer)

    def window(self) -> None:
        """Take `PERIOD` steps."""
        for _ in range(PERIOD):
            self.step()


def plain(trial: Trial) -> Backward:
    """`sum(losses).backward()`."""
    scaler = trial.precision.scaler

    def backward(_: Problem, losses: dict[str, Tensor], __: Tensor) -> None:
        total = sum(losses.values())
        (total if scaler is None else scaler.scale(total)).backward()  # type: ignore[union-attr]

    return backward


def heads_alone(_: Trial) -> Backward:
    """The part of the backward pass that no task repeats, down to the shared features."""
    return lambda problem, losses, features: torch.autograd.grad(
        sum(losses.values()), [features, *problem.heads.parameters()]
    )


def ours(strategy: GradientStrategy, **options: Any) -> Callable[[Trial], Backward]:
    """Our engine with a strategy."""

    def way(trial: Trial) -> Backward:
        engine = Engine(strategy, trial.problem.model, **options)

        def backward(_: Problem, losses: dict[str, Tensor], features: Tensor) -> None:
            seen = features if engine.gram_on == "features" else None
            engine.backward(losses, scaler=trial.precision.scaler, features=seen)

        return backward

    return way


def peer(backward: Backward) -> Callable[[Trial], Backward]:
    """A peer's way, which needs nothing of the trial."""
    return lambda _: backward


def ways() -> dict[str, Callable[[Trial], Backward]]:
    """Plain training, and our ways to the gradient."""
    return {
        "plain": plain,
        "heads": heads_alone,
        "stored": ours(EqualNorms(), rows="stored"),
        "auto": ours(EqualNorms()),
        "reuse": ours(EqualNorms(update_frequency=sys.maxsize)),
        "features": ours(EqualNorms(), gram_on="features"),
        "bfloat16 rows": ours(EqualNorms(), rows="stored", row_dtype=torch.bfloat16),
    }


def peers() -> dict[str, Callable[[Trial], Backward]]:
    """Our default way, and other people's."""
    found = {
        "plain": plain,
        "auto": ours(EqualNorms()),
        "LibMTL loop": peer(libmtl_loop),
        "official Nash-MTL": peer(official_nash),
    }
    if "torchjd" not in MISSING:
        found |= {"TorchJD": peer(torchjd(None)), "TorchJD sequential": peer(torchjd(1))}
    return found


def periodic(tasks: int, precision: NumberFormat) -> dict[str, Callable[[Trial], Backward]]:
    """Nash-MTL solved once in `PERIOD` steps; no peer of it knows a GradScaler."""
    found = {"plain": plain, "NashMTL": ours(NashMTL(update_frequency=PERIOD))}
    if not MISSING and precision != "float16":
        found |= {
            "TorchJD NashMTL": peer(torchjd_nash(tasks, PERIOD, None)),
            "TorchJD NashMTL sequential": peer(torchjd_nash(tasks, PERIOD, 1)),
        }
    return found


def measure(net: Net, tasks: int, part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one part of one network's case."""
    device, stopwatch = arguments.device, Stopwatch(arguments.device)
    trial = partial(Trial, net, tasks, device, Precision(device, arguments.precision))

    def timed(candidates: Mapping[str, Candidate]) -> dict[str, dict[str, float]]:
        seconds = in_turns(candidates, arguments.rounds, stopwatch, within=arguments.within)
        return {name: milliseconds(each) | {"rounds": len(each)} for name, each in seconds.items()}

    if part in TIMED:
        return timed({name: trial(way).prepared for name, way in TIMED[part]().items()})
    if part == "step":
        return timed({name: unprepared(trial(ways()[name]).step) for name in ("plain", "reuse", "features")})
    if part == "window":
        found = periodic(tasks, arguments.precision)
        return timed({name: unprepared(trial(way).window) for name, way in found.items()})
    if part == "gram":
        return gram_figures(trial(plain), stopwatch)
    if part == "peak":
        found = ways() | peers()
        return {name: _peak(trial(way), device) for name, way in found.items() if name != "heads"}
    return {name: synchronisations(trial(way)) for name, way in ways().items() if name != "heads"}


TIMED = {"backward": ways, "peers": peers}


def _peak(trial: Trial, device: torch.device) -> int:
    for _ in range(2):  # the first step tells the shared parameters from the others, the second tries ghost rows
        trial.pass_through()
    trial.optimizer.zero_grad()
    return peak_bytes(trial.pass_through, device)


def gram_figures(trial: Trial, stopwatch: Stopwatch) -> dict[str, float]:
    """How exact the Gram matrix of stored rows is, ours and by one float32 product, and what it and the sum cost."""
    losses, _ = trial.losses()
    shared = list(trial.problem.trunk.parameters())
    terms = named_terms(losses, None)
    rows = [harvest(shared, [term], [seed(term, 1.0)], retain_graph=term is not terms[-1]) for term in terms]
    exact = sum(_product([row[p].double() for row in rows]) for p in shared)
    gram = torch.from_numpy(gram_matrix(rows, shared)[0])
    single = _product([torch.cat([row[p].reshape(-1) for p in shared]) for row in rows]).cpu().double()
    exact = exact.cpu()  # type: ignore[union-attr]
    factors = [1.0] * len(rows)
    times = in_turns(
        {
            "gram": lambda: lambda: gram_matrix(rows, shared),
            "combine": lambda: lambda: combine(rows, set(shared), [0.5] * len(rows), factors),
        },
        3,
        stopwatch,
    )
    return {
        "error": float((gram - exact).norm() / exact.norm()),
        "float32 product": float((single - exact).norm() / exact.norm()),
        "smallest eigenvalue / trace": float(torch.linalg.eigvalsh(gram)[0] / gram.trace()),
        "ms": milliseconds(times["gram"])["min"],
        "combine ms": milliseconds(times["combine"])["min"],
    }


def _product(rows: list[Tensor]) -> Tensor:
    flat = torch.stack([row.reshape(-1) for row in rows])
    return flat @ flat.T


def synchronisations(trial: Trial) -> int:
    """How often the host waits for the GPU in one backward part, by the profiler's count."""
    for _ in range(2):
        trial.pass_through()
    backward = trial.prepared()
    torch.cuda.synchronize()
    with torch.profiler.profile() as profile:
        backward()
    waits = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize")
    return sum(event.count for event in profile.key_averages() if event.key in waits)


def opened(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the results so far, those in the output file among them, if they are of this machine and these options."""
    setting = {
        "environment": describe_environment(arguments.device) | {"processor": processor()},
        "clock": Stopwatch(arguments.device).name,
        "precision": arguments.precision,
    }
    if arguments.output is None or not arguments.output.exists():
        return setting | {"cases": []}
    found: dict[str, Any] = json.loads(arguments.output.read_text(encoding="utf-8"))
    if {name: found[name] for name in setting} != setting:
        raise SystemExit(f"{arguments.output} was measured elsewhere or otherwise: move it away, or take another file")
    return found


def main() -> None:
    """Measure, show, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=CPU_NETS)
    parser.add_argument("--tasks", nargs="+", type=int, default=TASKS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default all)")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of everything (default 15)")
    parser.add_argument("--within", type=float, default=60.0, help="seconds after which 3 runs are enough (default 60)")
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU; 1 is timed by CPU time (default 1)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", choices=NumberFormat.__args__, default="float32", help="of the forward pass")
    parser.add_argument("--output", type=Path, help="JSON file; what it holds of other nets, tasks and parts is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True)
    if MISSING:
        console.print(f"not installed, left out: what needs {', '.join(MISSING)}")
    results = opened(arguments)
    cases = {(case["net"], case["tasks"]): case for case in results["cases"]}
    for net, tasks, part in product(arguments.nets, arguments.tasks, arguments.parts):
        if (part == "window" and tasks != 3) or (part == "synchronisations" and arguments.device.type != "cuda"):
            continue
        console.print(f"{net}, {tasks} tasks, {part} ...")
        case = cases.setdefault((net, tasks), {"net": net, "tasks": tasks})
        case["parameters"] = NETS[net].problem(tasks, arguments.device).shared_size()
        case[part] = measure(NETS[net], tasks, part, arguments)
        results["date"] = datetime.now(UTC).date().isoformat()
        results["cases"] = [cases[key] for key in sorted(cases, key=lambda key: (list(NETS).index(key[0]), key[1]))]
        results["bars"] = judged(results["cases"])
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    Console(width=200).print(engine_table(results), bars_table(results), sep="\n\n", markup=False)


if __name__ == "__main__":
    main()
