"""What came of one run, read from its folder."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.diagnosis import diagnose
from coral_mtl.diagnostics.finding import Severity
from coral_mtl.engine.solvers.solution import Status
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.running.folder import RunFolder

ENDED = ("finished", "stopped early")
_DIVERGED = "TrainingError"


@dataclass(frozen=True, slots=True)
class Health:
    """What the diagnostics of a run count; idle: what they say where the strategy never moved a weight, else None."""

    solves: int = 0
    failed_solves: int = 0
    skipped_steps: int = 0
    idle: str | None = None


@dataclass(frozen=True)
class Measured:
    """A run that came to its end, or diverged.

    steps: optimiser steps up to the last validation. metrics: those of that validation, NaN where not finite.
    diverged: why training could not go on, None where it could.
    seconds_per_step: CPU time of the process, on a GPU time on the clock; None where no session ended in good order.
    memory: peak in bytes, of the GPU's tensors where there is one, else of the process; None where not known.
    """

    folder: Path
    strategy: str
    seed: int
    diverged: str | None
    steps: int
    metrics: Mapping[str, float]
    seconds_per_step: float | None
    memory: int | None
    fingerprints: Mapping[str, str]
    environment: Mapping[str, str]

    def figure(self, metric: str) -> float:
        """Return a metric of the last validation, NaN where the run diverged."""
        return math.nan if self.diverged is not None else self.metrics.get(metric, math.nan)

    @cached_property
    def health(self) -> Health:
        """What the run's diagnostics count, read when it is asked for."""
        try:
            diagnosis = diagnose(self.folder)[0]
        except DataError:  # the run was over before its first record
            return Health()
        statuses = diagnosis.statistics.statuses
        frozen = [f.title for f in diagnosis.findings if f.kind == "frozen" and f.severity is Severity.ERROR]
        return Health(
            solves=statuses.total(),
            failed_solves=statuses[Status.FALLBACK],
            skipped_steps=diagnosis.statistics.skipped.total(),
            idle=frozen[0] if frozen else None,
        )


def read_run(path: Path) -> Measured:
    """Read a run's folder.

    Raises:
        ConfigError: it is not the folder of a run, or of one that has not come to its end.
    """
    folder = RunFolder.open(path)
    facts = folder.facts
    if not ended(facts):
        raise ConfigError(
            f"{path}: this run has not come to its end: {facts.get('status')}\n    go on with: coral-mtl resume {path}"
        )
    last = _last_validation(folder.metrics)
    usage = facts.get("usage", {})
    return Measured(
        folder=path,
        strategy=facts["strategy"],
        seed=facts["seed"],
        diverged=facts["failure"]["message"] if diverged(facts) else None,
        steps=last.get("step", 0),
        metrics={name: math.nan if value is None else value for name, value in last.get("metrics", {}).items()},
        seconds_per_step=_seconds_per_step(usage),
        memory=usage.get("peak_device_memory") or usage.get("peak_memory"),
        fingerprints=facts.get("fingerprints", {}),
        environment=facts.get("environment", {}),
    )


def require_metric(metric: str, runs: Iterable[Measured]) -> None:
    """Raise ConfigError where a run that did not diverge has no such metric."""
    lacking = [run for run in runs if run.diverged is None and metric not in run.metrics]
    if lacking:
        raise ConfigError(
            f"{lacking[0].folder}: no metric called {metric}\n    it has: {', '.join(lacking[0].metrics)} (--metric)"
        )


def ended(facts: Mapping[str, Any]) -> bool:
    """Whether `run.json` tells of a run that there is nothing left to do for: finished, or diverged."""
    return facts.get("status") in ENDED or diverged(facts)


def diverged(facts: Mapping[str, Any]) -> bool:
    """Whether `run.json` tells of a run whose training could not go on."""
    return facts.get("status") == "failed" and facts.get("failure", {}).get("type") == _DIVERGED


def idle_strategies(runs: Mapping[str, Iterable[Measured]]) -> list[str]:
    """Return what the diagnostics say of the strategies that never moved a weight which they are to move."""
    found = (f"{name}: {run.health.idle}" for name, each in runs.items() for run in each if run.health.idle)
    return list(dict.fromkeys(found))


def _last_validation(path: Path) -> dict[str, Any]:
    """The last whole line of metrics.jsonl, empty where there is none."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return json.loads(lines[-1]) if lines else {}


def _seconds_per_step(usage: Mapping[str, Any]) -> float | None:
    if not usage.get("steps"):
        return None
    on_device = usage.get("peak_device_memory") is not None
    return usage["seconds" if on_device else "cpu_seconds"] / usage["steps"]
