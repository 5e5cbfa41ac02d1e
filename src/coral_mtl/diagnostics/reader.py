"""Records of any diagnostics file, ours or another program's, in one form and one at a time."""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.lines import NAME, Remark, as_figure, read_objects
from coral_mtl.diagnostics.record import FIELDS, SCHEMA
from coral_mtl.diagnostics.runs import Runs
from coral_mtl.diagnostics.strategies import canonical_strategy
from coral_mtl.engine.step import WEIGHTLESS
from coral_mtl.errors import DataError

_FIGURES = ("unweighted_losses", "task_weights", "gradient_norm", "gradient_cosine_similarity", "descent")
_SCALARS = ("gradient_update_norm", "gradient_update_norm_clipped", "lr")
_SOLVER = ("residual", "iterations", "seconds")
_TELLING = {*_FIGURES, "gradient_update_norm", "skipped", "inactive_tasks"}
"""A line without any of these is no diagnostics record."""

_LARGEST = 1 << 53
"""Of a step or epoch: above, a float no longer holds every whole number."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One record in normal form; what was not measured is empty, and what was not finite is NaN.

    run: a label for the run, of which a file may hold several.
    strategy: the registered name of the strategy where it has one.
    cosines: by pair of tasks, in alphabetical order.
    scalars: update norms, learning rate, and every further number the strategy wrote.
    status: of the solver, where one ran.
    reused: whether the weights were cached ones.
    solver: residual, iterations and seconds, as far as they were recorded.
    """

    line: int
    run: str
    strategy: str
    step: int
    epoch: int | None
    inactive: Mapping[str, str]
    skipped: str | None
    losses: Mapping[str, float]
    weights: Mapping[str, float]
    norms: Mapping[str, float]
    cosines: Mapping[Pair, float]
    descent: Mapping[str, float]
    scalars: Mapping[str, float]
    status: str | None
    reused: bool
    solver: Mapping[str, float]


def read_records(path: Path, remark: Remark) -> Iterator[Record]:
    """Yield the records of a file in order, in bounded memory; tell `remark` what was odd about a line.

    Foreign files (no `schema` field) may call strategies by class name, write `NaN`, leave fields out, and write
    zeros or null for what they did not measure.

    Raises:
        DataError: the file cannot be read, holds no record at all, more than 1,000 runs, or a newer schema.
    """
    runs = Runs(path)
    oddities: list[str] = []
    empty = True

    def tell(line: int, what: str) -> None:
        if empty and not oddities:
            oddities.append(f":{line}: {what}; and there is no record after it")
        remark(line, what)

    for number, found in read_objects(path, tell):
        record = to_record(found, number, runs, tell)
        if record is not None:
            empty = False
            yield record
    if empty:
        what = oddities[0] if oddities else ": the file is empty"
        raise DataError(f"{path}{what}\n    pass a run folder, or its {NAME}")


def to_record(found: Mapping[str, Any], line: int, runs: Runs, remark: Remark) -> Record | None:
    """Return the object on a line as the next record of its file; None, and a word to `remark`, where it is none.

    Raises:
        DataError: more than 1,000 runs, or a newer schema.
    """
    schema = found.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise DataError(f"{runs.path}:{line}: schema {schema} is newer than this version knows\n    update coral-mtl")
    if not _TELLING & found.keys():
        remark(line, "no field of a diagnostics record: skipped")
        return None
    return _Normaliser(found, line, remark, foreign=schema is None).record(runs)


class _Normaliser:
    """One line's object on its way to a Record; a field of the wrong type is left out and told."""

    def __init__(self, found: Mapping[str, Any], line: int, remark: Remark, *, foreign: bool) -> None:
        self._found = found
        self._line = line
        self._remark = remark
        self._foreign = foreign

    def record(self, runs: Runs) -> Record:
        place = runs.place(
            self._text("run"),
            self._strategy(),
            self._integer("step"),
            self._integer("epoch"),
            line=self._line,
            remark=self._remark,
        )
        norms, cosines, scalars = self._norms(), self._cosines(), self._scalars()
        if self._foreign and norms and not any(norms.values()):
            self._tell("all gradient norms are 0: taken as not measured")
            norms, cosines = {}, {}
            scalars.pop("gradient_update_norm", None)
        solver = self._mapping("solver")
        return Record(
            line=self._line,
            run=place.run,
            strategy=place.strategy or "unknown",
            step=place.step,
            epoch=place.epoch,
            inactive=self._inactive(),
            skipped=self._skipped(),
            losses=self._figures("unweighted_losses"),
            weights=self._figures("task_weights"),
            norms=norms,
            cosines=cosines,
            descent=self._figures("descent"),
            scalars=scalars,
            status=str(solver["status"]) if solver.get("status") is not None else None,
            reused=solver.get("reused") is True,
            solver={name: figure for name in _SOLVER if (figure := self._number(solver.get(name, ""))) is not None},
        )

    def _strategy(self) -> str | None:
        name = self._text("strategy_type")
        return canonical_strategy(name) if name is not None and self._foreign else name

    def _inactive(self) -> dict[str, str]:
        """The tasks that were left out, but for those that were to be left out."""
        reasons = {name: str(reason) for name, reason in self._mapping("inactive_tasks").items()}
        return {name: reason for name, reason in reasons.items() if reason != WEIGHTLESS}

    def _skipped(self) -> str | None:
        skipped = self._found.get("skipped")
        if not skipped:
            return None
        return skipped if isinstance(skipped, str) else "no reason given"

    def _norms(self) -> dict[str, float]:
        norms = self._figures("gradient_norm")
        negative = [task for task, norm in norms.items() if norm < 0]
        if negative:
            self._tell("gradient_norm: a negative norm: left out")
        return {task: norm for task, norm in norms.items() if task not in negative}

    def _cosines(self) -> dict[Pair, float]:
        cosines: dict[Pair, float] = {}
        for name, cosine in self._figures("gradient_cosine_similarity").items():
            pair = self._pair(name)
            if pair is None:
                self._tell('gradient_cosine_similarity: a name that is not "a_vs_b": left out')
            elif abs(cosine) > 1.0 + 1e-6:
                self._tell("gradient_cosine_similarity: a figure beyond -1 and 1: left out")
            elif pair[0] != pair[1]:
                cosines[pair] = cosine
        return cosines

    def _pair(self, name: str) -> Pair | None:
        pairs = _pairs(name)
        if len(pairs) > 1:
            tasks = self._mapping("unweighted_losses") or self._mapping("gradient_norm")
            pairs = [pair for pair in pairs if pair[0] in tasks and pair[1] in tasks] or pairs
        return pairs[0] if pairs else None

    def _scalars(self) -> dict[str, float]:
        scalars: dict[str, float] = {}
        for name, value in self._found.items():
            if name in _SCALARS or name not in FIELDS:
                number = self._number(value)
                if number is not None:
                    scalars[name] = number
                elif name in _SCALARS and value is not None:
                    self._tell(f"{name}: not a number: left out")
        return scalars

    def _figures(self, field: str) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, value in self._mapping(field).items():
            number = self._number(value)
            if number is not None:
                figures[name] = number
            elif value is not None:
                self._tell(f"{field}: a figure that is not a number: left out")
        return figures

    def _number(self, value: Any) -> float | None:
        """Return a JSON number; null is NaN in our own records, where it stands for a figure that was not finite."""
        if value is None and not self._foreign:
            return math.nan
        return as_figure(value)

    def _mapping(self, field: str) -> Mapping[str, Any]:
        value = self._found.get(field)
        if isinstance(value, dict):
            return value
        if value is not None:
            self._tell(f"{field}: not an object: left out")
        return {}

    def _integer(self, field: str) -> int | None:
        number = self._found.get(field)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, int) and not isinstance(number, bool) and abs(number) <= _LARGEST:
            return number
        if number is not None:
            self._tell(f"{field}: not a whole number: left out")
        return None

    def _text(self, field: str) -> str | None:
        value = self._found.get(field)
        if value is not None and not isinstance(value, str):
            self._tell(f"{field}: not a text: left out")
            return None
        return value

    def _tell(self, what: str) -> None:
        self._remark(self._line, what)


@functools.lru_cache(maxsize=10_000)
def _pairs(name: str) -> list[Pair]:
    """All readings of "a_vs_b" as a pair in alphabetical order: several where a task's own name holds "_vs_"."""
    parts = name.split("_vs_")
    readings = [("_vs_".join(parts[:at]), "_vs_".join(parts[at:])) for at in range(1, len(parts))]
    return [(min(pair), max(pair)) for pair in readings]
