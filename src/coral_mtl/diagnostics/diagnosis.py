"""A run or a file of runs, diagnosed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.advice import Advice, advise
from coral_mtl.diagnostics.finding import Finding
from coral_mtl.diagnostics.findings import find
from coral_mtl.diagnostics.lines import find_file
from coral_mtl.diagnostics.reader import Record, read_records
from coral_mtl.diagnostics.remarks import Remarks
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strict import dumps
from coral_mtl.diagnostics.thresholds import DEFAULT, Thresholds
from coral_mtl.diagnostics.validation import NAME as METRICS
from coral_mtl.diagnostics.validation import read_validations


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What there is to say about one run.

    path: the file that was read.
    statistics: running figures of the run.
    findings: heaviest first.
    advice: the workflow for choosing a strategy, and the sentence it ends in.
    remarks: what was odd about the lines of the run, as "file:line: what".
    thresholds: what the findings were judged by.
    """

    path: Path
    statistics: Statistics
    findings: tuple[Finding, ...]
    advice: Advice
    remarks: tuple[str, ...]
    thresholds: Thresholds

    @property
    def run(self) -> str:
        """The run's id, or "run 1", "run 2", ... in the order of the file."""
        return self.statistics.run

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis for JSON."""
        return {
            "file": str(self.path),
            **self.statistics.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
            "advice": self.advice.to_dict(),
            "remarks": list(self.remarks),
            "thresholds": self.thresholds.to_dict(),
        }


def diagnose(
    path: Path | str, thresholds: Thresholds = DEFAULT, also: Callable[[Record], object] | None = None
) -> list[Diagnosis]:
    """Read a run folder or a diagnostics file, ours or another program's, and diagnose each run in it.

    The file is read once, line by line, and after it the metrics.jsonl beside it, where there is one: memory does not
    grow with their size. `also` is shown every record on the way.

    Raises:
        DataError: there is no such file, or it holds no diagnostics records.
    """
    file = find_file(Path(path))
    runs: dict[str, tuple[Statistics, Remarks]] = {}
    pending = Remarks(file)
    for record in read_records(file, pending.add):
        if record.run not in runs:
            runs[record.run] = Statistics(record.run, thresholds), Remarks(file)
        statistics, remarks = runs[record.run]
        remarks.take_over(pending)
        statistics.add(record)
        if also is not None:
            also(record)
    remarks.take_over(pending)  # of the lines after the last record; a file without any record was refused
    validated = Remarks(file.with_name(METRICS))
    for validation in read_validations(file.with_name(METRICS), validated.add):
        if validation.run in runs:
            runs[validation.run][0].course.add_validation(validation.step, validation.losses)
    return [
        _diagnosis(file, statistics, (*remarks.texts(), *validated.texts()), thresholds)
        for statistics, remarks in runs.values()
    ]


def to_json(diagnoses: Sequence[Diagnosis]) -> str:
    """Return the diagnoses as one strict JSON text: a list with one object a run."""
    return dumps([diagnosis.to_dict() for diagnosis in diagnoses], indent=2)


def _diagnosis(path: Path, statistics: Statistics, remarks: tuple[str, ...], thresholds: Thresholds) -> Diagnosis:
    findings = find(statistics, thresholds)
    advice = advise(statistics, findings, thresholds)
    return Diagnosis(path, statistics, tuple(findings), advice, remarks, thresholds)
