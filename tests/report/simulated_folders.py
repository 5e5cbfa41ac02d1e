"""Run folders made up around simulated records, as training would leave them."""

import json
import math

import numpy as np
from simulated_runs import healthy

TASKS = ("genus", "health", "cover")
STRATEGIES = ("Equal", "Static", "Uncertainty", "NashMTL")
_EPOCHS = 10


def run_folder(path, strategy="Equal", seed=0, *, tasks=TASKS, records=100, restart=False, **config):
    """Write a finished run; every strategy is 0.05 better in each metric than the one before it in STRATEGIES."""
    path.mkdir(parents=True)
    with (path / "loss_diagnostics.jsonl").open("w") as file:
        for record in healthy(seed, strategy, tasks=tasks, records=records):
            share = (record["step"] - 1) / records
            if restart:
                record["lr"] = 1e-3 * (1 + math.cos(math.pi * (2 * share % 1))) / 2
            file.write(json.dumps(record) + "\n")
    with (path / "metrics.jsonl").open("w") as file:
        for epoch in range(_EPOCHS):
            line = {"schema": 1, "run": "simulated", "step": (epoch + 1) * records // _EPOCHS, "epoch": epoch}
            file.write(json.dumps(line | {"metrics": _metrics(strategy, seed, tasks, epoch), "best": False}) + "\n")
    usage = {
        "steps": records,
        "seconds": 9.0,
        "cpu_seconds": 2.0 + seed,
        "peak_memory": 4e8,
        "peak_device_memory": None,
    }
    facts = {"id": f"{strategy}-{seed}", "name": "reef", "strategy": strategy, "seed": seed, "commit": "0" * 40}
    facts |= {
        "environment": {"torch": "2.13.0"},
        "host": "reef.example",
        "command": f"coral-mtl train reef.yaml seed={seed}",
    }
    facts |= {"started": "2026-11-20T05:30:20+00:00", "updated": "2026-11-20T05:31:20+00:00", "status": "finished"}
    facts |= {"fingerprints": {"weights": f"w{seed}", "data": f"d{seed}"}, "total_steps": records, "usage": usage}
    (path / "run.json").write_text(json.dumps(facts))
    tree = {"name": "reef", "seed": seed, "loss": {"weighting_strategy": {"type": strategy, "params": {}}}}
    tree |= {"trainer": {"model_selection_metric": "global.score", "epochs": _EPOCHS}, **config}
    (path / "config.yaml").write_text(json.dumps(tree))
    return path


def run_folders(root, strategies=STRATEGIES, seeds=(0, 1, 2), **options):
    """Write a run for each strategy and seed."""
    return [run_folder(root / f"{name}_s{seed}", name, seed, **options) for name in strategies for seed in seeds]


def _metrics(strategy, seed, tasks, epoch):
    rng = np.random.default_rng([seed, epoch])
    gain = 0.05 * STRATEGIES.index(strategy) if strategy in STRATEGIES else 0.0
    progress = 0.7 - 0.5 * math.exp(-epoch / 3) + gain
    values = (progress + 0.01 * rng.normal(size=len(tasks))).tolist()
    metrics = {f"tasks.{task}.accuracy": value for task, value in zip(tasks, values, strict=True)}
    metrics |= {f"tasks.{task}.loss": 1 - value for task, value in zip(tasks, values, strict=True)}
    return metrics | {"global.score": sum(values) / len(values), "global.loss": len(values) - sum(values)}
