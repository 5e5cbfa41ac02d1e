"""What it costs to weigh losses by their gradients at the predictions: a whole step beside a plain one, in turns.

    OMP_NUM_THREADS=1 python benchmarks/prediction_norms.py --output benchmarks/results/prediction_norms.json   # 2 min

`ratio` is the median of the ratios within a round, `ratio of minima` compares the least disturbed runs of both. A step
is forward, backward and SGD; `parameters` is the same method with gradients on the shared parameters, for comparison.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from nets import NETS, Net
from quickstart import processor
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from coral_mtl.bench.timing import Stopwatch, in_turns, milliseconds, unprepared
from coral_mtl.engine.engine import Engine
from coral_mtl.engine.loss_weighting.gradient_normalised import GradientNormalised
from coral_mtl.running.environment import describe_environment

BAR = 1.15
CASES = (("resnet", 3), ("resnet", 7), ("segformer", 3), ("segformer", 7), ("lenet", 3))

Backward = Callable[[dict[str, Tensor], dict[str, Tensor]], object]
"""(losses, predictions) -> gradients in `.grad`."""


def stepper(net: Net, tasks: int, backward_of: Callable[[torch.nn.Module], Backward]) -> Callable[[], None]:
    """Return a whole training step on a network of its own."""
    problem = net.problem(tasks, torch.device("cpu"))
    backward = backward_of(problem.model)
    optimizer = torch.optim.SGD([*problem.trunk.parameters(), *problem.heads.parameters()], lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        features = problem.trunk(problem.inputs)
        predictions = {task: head(features) for task, head in problem.heads.items()}
        losses = {task: functional.cross_entropy(out, problem.targets[task]) for task, out in predictions.items()}
        backward(losses, predictions)
        optimizer.step()

    return step


def plain(_: torch.nn.Module) -> Backward:
    """`sum(losses).backward()`."""
    return lambda losses, _: sum(losses.values()).backward()  # type: ignore[union-attr]


def normalised(at: Literal["prediction", "parameters"]) -> Callable[[torch.nn.Module], Backward]:
    """GradientNormalised, looking at every step."""

    def backward_of(model: torch.nn.Module) -> Backward:
        engine = Engine(GradientNormalised(at=at), model)
        return lambda losses, predictions: engine.backward(losses, predictions=predictions)

    return backward_of


def measure(name: str, tasks: int, rounds: int, stopwatch: Stopwatch) -> dict[str, Any]:
    """Return the figures of one network with this many tasks."""
    ways = {"plain": plain, "prediction": normalised("prediction"), "parameters": normalised("parameters")}
    steps = {way: unprepared(stepper(NETS[name], tasks, build)) for way, build in ways.items()}
    seconds = in_turns(steps, rounds, stopwatch)
    pairs = zip(seconds["prediction"], seconds["plain"], strict=True)
    return {
        "net": name,
        "tasks": tasks,
        "step": {way: milliseconds(taken) for way, taken in seconds.items()},
        "ratio": round(median(ours / theirs for ours, theirs in pairs), 3),
        "ratio of minima": round(min(seconds["prediction"]) / min(seconds["plain"]), 3),
    }


def main() -> None:
    """Measure, show, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each way (default 15)")
    parser.add_argument("--output", type=Path, help="JSON file; nothing is written without it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    stopwatch = Stopwatch(device)
    cases = [measure(name, tasks, arguments.rounds, stopwatch) for name, tasks in CASES]
    table = Table("net", "T", "plain ms", "prediction ms", "parameters ms", "ratio", "ratio of minima", f"<= {BAR}")
    for case in cases:
        times = [f"{case['step'][way]['median']:.1f}" for way in ("plain", "prediction", "parameters")]
        ratios = case["ratio"], case["ratio of minima"]
        met = "yes" if max(ratios) <= BAR else "no"
        table.add_row(case["net"], str(case["tasks"]), *times, *(f"{ratio:.3f}" for ratio in ratios), met)
    Console(width=120).print(table)
    if arguments.output:
        environment = describe_environment(device) | {"processor": processor()}
        results = {"environment": environment, "clock": stopwatch.name, "rounds": arguments.rounds, "cases": cases}
        arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
