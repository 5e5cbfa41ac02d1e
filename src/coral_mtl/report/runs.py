"""The runs of a report, read once and in bounded memory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.curves import Curves
from coral_mtl.diagnostics.diagnosis import Diagnosis, diagnose
from coral_mtl.diagnostics.lines import find_file
from coral_mtl.diagnostics.reader import Record
from coral_mtl.diagnostics.timeline import Timeline
from coral_mtl.diagnostics.validation import read_validations
from coral_mtl.documents.problems import ConfigErrors
from coral_mtl.errors import DataError
from coral_mtl.report.comparison import assessed, comparison_file, read_comparison
from coral_mtl.running.folder import CONFIG, METRICS, RUN
from coral_mtl.running.settings import Settings, read_settings
from coral_mtl.study.assessment import Assessment

MOST_RUNS = 64
"""Of which a page draws curves; more of them only a comparison may have."""


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """All that a report knows of one run.

    path: its folder, or the file it was read from.
    label: what a comparison calls its strategy, empty where the run is part of none.
    curves: of its records (see Timeline). metrics: curves of its validation metrics by name; last: those at the end.
    facts: its run.json, empty where there is none.
    settings: its resolved configuration by dotted keys, empty where there is none.
    remarks: what was odd about its files.
    """

    path: Path
    label: str
    diagnosis: Diagnosis
    curves: Curves
    metrics: Curves
    last: Mapping[str, float]
    facts: Mapping[str, Any]
    settings: Settings
    remarks: tuple[str, ...]

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self.diagnosis.statistics.strategy

    @property
    def name(self) -> str:
        """What to call the run: its folder, or the file and the run's label in it."""
        return self.path.name if self.facts else f"{self.path.name}: {self.diagnosis.run}"

    @property
    def seed(self) -> str:
        """The seed in words, empty where it is not known."""
        return self.settings.get("seed", "")

    @property
    def failed(self) -> bool:
        """Whether training could not go on, so that its last validation is no result."""
        return self.facts.get("status") == "failed"

    @property
    def results(self) -> Mapping[str, float]:
        """The metrics of the last validation, none where the run failed."""
        return {} if self.failed else self.last

    @property
    def milliseconds(self) -> float | None:
        """Processor time of a step, or with a GPU time on the clock, validations included; None where not recorded."""
        usage = self.facts.get("usage") or {}
        seconds = usage.get("seconds" if usage.get("peak_device_memory") is not None else "cpu_seconds")
        return 1000.0 * seconds / usage["steps"] if seconds is not None and usage.get("steps") else None

    @property
    def megabytes(self) -> float | None:
        """Memory at its peak, of the GPU's tensors where there is one, else of the process; None where not recorded."""
        usage = self.facts.get("usage") or {}
        memory = usage.get("peak_device_memory") or usage.get("peak_memory")
        return memory / 1e6 if memory else None


@dataclass(frozen=True, slots=True)
class Material:
    """What was read.

    runs: in the order of the paths. left_out: for each path that could not be read why.
    assessment: what comparing them comes to, or why there is no comparison; empty for a single strategy.
    command: what started their comparison, empty where that is not known or there is none.
    """

    runs: tuple[ReportedRun, ...]
    left_out: tuple[str, ...]
    assessment: Assessment | str
    command: str


def read_runs(paths: Sequence[Path]) -> Material:
    """Read run folders, diagnostics files, which may hold several runs each, or one comparison.

    What cannot be read is told and left out, so that a run without records yet does not stand in the way of the others,
    nor a comparison in the folder of its configuration's runs.

    Raises:
        DataError: no path could be read, or there are more than 64 runs that are no comparison.
    """
    paths = [path.resolve() for path in paths]
    file = comparison_file(paths[0]) if len(paths) == 1 else None
    comparison = read_comparison(file) if file else None
    runs: list[ReportedRun] = []
    left_out: list[str] = []
    for path, label in (comparison.runs if comparison else dict.fromkeys(paths, "")).items():
        if not comparison and comparison_file(path):
            left_out.append(f"{path}: a comparison is reported by itself\n    name it alone, or runs alone")
            continue
        try:
            runs += _runs_of(path, label)
        except DataError as problem:
            left_out.append(str(problem))
        if len(runs) > MOST_RUNS and not comparison:
            raise DataError(f"more than {MOST_RUNS} runs, which no page can show\n    name fewer of them")
    if not runs:
        raise DataError("\n".join(left_out))
    if comparison:
        assessment = comparison.assessment or "the comparison is not finished"
    else:
        assessment = assessed([run.path for run in runs]) if len(runs) > 1 else ""
    return Material(tuple(runs), tuple(left_out), assessment, comparison.command if comparison else "")


def _runs_of(path: Path, label: str) -> Iterator[ReportedRun]:
    timelines: dict[str, Timeline] = {}

    def also(record: Record) -> None:
        if record.run not in timelines:
            timelines[record.run] = Timeline()
        timelines[record.run].add(record)

    diagnoses = diagnose(path, also=also)
    folder = find_file(path).parent
    is_run = (folder / RUN).is_file() and len(diagnoses) == 1
    metrics, last = _validated(folder / METRICS) if is_run else (Curves(), {})
    facts = _facts(folder / RUN) if is_run else {}
    settings = _settings(folder / CONFIG) if is_run else {}
    for diagnosis in diagnoses:
        yield ReportedRun(
            path=folder if is_run else path,
            label=label,
            diagnosis=diagnosis,
            curves=timelines[diagnosis.run].curves,
            metrics=metrics,
            last=last,
            facts=facts,
            settings=settings,
            remarks=diagnosis.remarks,
        )


def _validated(path: Path) -> tuple[Curves, dict[str, float]]:
    """The validations of a run as curves, and the last one; what is odd about the file, its diagnosis tells."""
    curves, last = Curves(), {}
    for validation in read_validations(path, lambda line, what: None):
        last = validation.metrics
        curves.add(validation.step, last)
    return curves, last


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}\n    name the diagnostics file instead") from problem
    return facts if isinstance(facts, dict) else {}


def _settings(path: Path) -> dict[str, str]:
    try:
        return read_settings(path)
    except (OSError, UnicodeDecodeError, ConfigErrors) as problem:
        raise DataError(f"{path}: cannot be read: {problem}\n    name the diagnostics file instead") from problem
