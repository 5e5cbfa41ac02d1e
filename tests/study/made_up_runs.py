"""Runs that never ran, with chosen figures."""

import math
from pathlib import Path

from coral_mtl.study.measured import Health, Measured


def measured(seed=0, *, diverged=None, steps=100, **figures):
    """A run with these figures: `score=0.5`, or of tasks as `left_accuracy=0.9`, `ink_rmse=2.0`."""
    metrics = {
        "global.score" if name == "score" else "tasks." + name.replace("_", "."): value
        for name, value in figures.items()
    }
    run = Measured(
        folder=Path("nowhere"),
        strategy="made up",
        seed=seed,
        diverged=diverged,
        steps=steps,
        metrics=metrics,
        seconds_per_step=0.01,
        memory=10**8,
        fingerprints={},
        environment={},
    )
    run.__dict__["health"] = Health(solves=50, failed_solves=2, skipped_steps=1)
    return run


def scores(*values):
    """Runs on the seeds 0, 1, ... with these scores; NaN is a run that diverged."""
    return {
        seed: measured(seed, score=value, diverged="20 steps in a row were skipped" if math.isnan(value) else None)
        for seed, value in enumerate(values)
    }
