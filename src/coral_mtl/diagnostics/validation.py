"""The validations of runs, from the `metrics.jsonl` beside their records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.diagnostics.lines import Remark, as_figure, read_objects
from coral_mtl.errors import DataError

NAME = "metrics.jsonl"
_PREFIX, _SUFFIX = "tasks.", ".loss"


@dataclass(frozen=True, slots=True)
class Validation:
    """One validation: the id of its run, the optimiser step before it, and the metrics by name."""

    run: str
    step: int
    metrics: dict[str, float]

    @property
    def losses(self) -> dict[str, float]:
        """The losses by task."""
        return {
            name.removeprefix(_PREFIX).removesuffix(_SUFFIX): figure
            for name, figure in self.metrics.items()
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX)
        }


def read_validations(path: Path, remark: Remark) -> Iterator[Validation]:
    """Yield the validations of a file in order, in bounded memory; none where there is no file, or an empty one.

    What cannot be read is told to `remark`: without validations there is less to say about a run, but not nothing.
    """
    if not path.is_file():
        return
    try:
        for number, found in read_objects(path, remark):
            run, step, metrics = (found.get(name) for name in ("run", "step", "metrics"))
            if isinstance(run, str) and isinstance(step, int) and isinstance(metrics, dict):
                yield Validation(run, step, _figures(metrics))
            else:
                remark(number, "no validation of a run: skipped")
    except DataError as problem:
        remark(1, str(problem).partition("\n")[0])


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    figures = ((name, as_figure(value)) for name, value in metrics.items())
    return {name: figure for name, figure in figures if figure is not None}
