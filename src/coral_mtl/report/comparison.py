"""A comparison for a report: which runs it is made of, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.errors import CoralError, DataError
from coral_mtl.running.folder import RUN
from coral_mtl.study.assessment import Assessment, Row
from coral_mtl.study.compare import COMPARISON, SCHEMA
from coral_mtl.study.existing import compare_runs
from coral_mtl.study.statistics import Difference
from coral_mtl.study.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison.json.

    runs: the folders of its runs, each with the name of its strategy there; empty names before it is finished. Runs on
        one task alone are not among them.
    assessment: its table and verdict, None before it is finished.
    command: what started it, empty where that is not known.
    """

    runs: Mapping[Path, str]
    assessment: Assessment | None
    command: str


def comparison_file(path: Path) -> Path | None:
    """Return the comparison.json that `path` is or holds, None where it is something else."""
    file = path / COMPARISON if path.is_dir() else path
    return file if file.name == COMPARISON and file.is_file() else None


def read_comparison(file: Path) -> Comparison:
    """Read a comparison.json.

    Raises:
        DataError: it is none, or of a newer version, or no run was begun yet.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["schema"] > SCHEMA:
            raise DataError(f"{file}: schema {found['schema']} is newer than this version knows\n    update coral-mtl")
        runs = {file.parent / run["folder"]: run["strategy"] for run in found["runs"] if run["task"] is None}
        command = str(found.get("command") or "")
        assessment = None if found["result"] is None else _assessment(found["result"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DataError(f"{file}: this is no comparison: {problem!r}\n    name its folder, or runs") from problem
    runs = runs or {facts.parent: "" for facts in sorted(file.parent.glob(f"runs/*/{RUN}"))}
    if not runs:
        raise DataError(f"{file}: no run was begun yet\n    go on with: coral-mtl compare {file.parent}")
    return Comparison(runs, assessment, command)


def assessed(folders: Sequence[Path]) -> Assessment | str:
    """Return what a comparison of finished runs comes to, or why there is none."""
    try:
        return compare_runs(folders)
    except CoralError as problem:
        return str(problem).partition("\n")[0]


def _assessment(found: Mapping[str, Any]) -> Assessment:
    """Read back what `dataclasses.asdict` made of an Assessment."""
    rows = [Row(**row | {"difference": _difference(row["difference"])}) for row in found["rows"]]
    return Assessment(**dict(found) | {"rows": tuple(rows), "verdict": Verdict(**found["verdict"])})


def _difference(found: Mapping[str, Any] | None) -> Difference | None:
    return None if found is None else Difference(**found)
