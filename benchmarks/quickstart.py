"""Validation figures of the quickstart under five strategies, as README.md shows them.

    OMP_NUM_THREADS=2 python benchmarks/quickstart.py       # 15 runs, about 5 minutes on two idle cores
    python -m coral_mtl.documentation                       # puts the table into README.md

The runs follow one another in this process; their folders are thrown away. What is told is the validation after the
last epoch, not the best one, which would be picked by the figures that it is judged by.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from coral_mtl.config import load_config
from coral_mtl.documentation import QUICKSTART
from coral_mtl.experiment import build_experiment
from coral_mtl.running.environment import describe_environment
from coral_mtl.running.run import Run

ROOT = Path(__file__).parents[1]
CONFIGS = ("equal", "uncertainty", "uncertainty_pcgrad", "imgrad", "nash_mtl")


def measure(config: str, seed: int, overrides: Sequence[str], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Train `configs/strategies/<config>.yaml` in `folder`; return the run's figures and its environment."""
    path = ROOT / "configs" / "strategies" / f"{config}.yaml"
    experiment = build_experiment(load_config(path, [*overrides, f"seed={seed}", f"trainer.output_dir={folder}"]))
    run = Run.create(experiment, command=sys.argv)
    start = perf_counter()
    run.train()
    seconds = perf_counter() - start
    last = json.loads(run.folder.metrics.read_text().splitlines()[-1])
    figures = {
        "strategy": experiment.strategy_name,
        "config": path.name,
        "seed": seed,
        "epochs": last["epoch"] + 1,
        "steps": last["step"],
        "seconds": round(seconds, 2),
        "metrics": last["metrics"],
    }
    return figures, describe_environment(experiment.device)


def processor() -> str:
    """The processor's name and the number of its cores."""
    names = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    """Run everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of each (default 0 1 2)")
    parser.add_argument("--output", type=Path, default=ROOT / QUICKSTART, help=f"JSON file (default {QUICKSTART})")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as trainer.epochs=1, to try it out")
    arguments = parser.parse_args()
    runs, environment = [], {}
    for config in CONFIGS:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as folder:
                figures, environment = measure(config, seed, arguments.overrides, Path(folder) / "run")
            runs.append(figures)
            score = figures["metrics"]["global.score"]
            Console().print(f"{figures['strategy']}, seed {seed}: score {score:.3f}, {figures['seconds']:.1f} s")
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(sys.argv),
        "environment": environment | {"processor": processor()},
        "runs": runs,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
