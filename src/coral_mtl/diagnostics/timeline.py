"""What a run did over its steps, as curves."""

from collections.abc import Hashable
from typing import Any

from coral_mtl.diagnostics.curves import Curves
from coral_mtl.diagnostics.reader import Record

_MOST_TASKS = 32
_MOST_PAIRS = 120


class Timeline:
    """Curves of one run: ("loss", t), ("weight", t), ("norm", t), ("cosine", (a, b)), and these without a task.

    "imbalance": largest over smallest gradient norm. "conflict": share of pairs whose cosine is below 0. "update_norm"
    and "lr". Of the solver "residual", "seconds", and "reused", which is 1 or 0. Of more than 32 tasks or 120 pairs,
    the first ones are kept.
    """

    def __init__(self) -> None:
        """Start before the first record of the run."""
        self.curves = Curves()
        self._tasks: dict[str, None] = {}
        self._pairs: dict[tuple[str, str], None] = {}
        self._last_step = self._before = 0

    def add(self, record: Record) -> None:
        """Take in the next record; steps that start again with an epoch are counted on."""
        if record.step < self._last_step:
            self._before += self._last_step
        self._last_step = record.step
        self.curves.add(self._before + record.step, self._figures(record))

    def _figures(self, record: Record) -> dict[Hashable, float]:
        figures: dict[Hashable, float] = {
            (kind, task): figure
            for kind, by_task in (("loss", record.losses), ("weight", record.weights), ("norm", record.norms))
            for task, figure in by_task.items()
            if _known(self._tasks, task, _MOST_TASKS)
        }
        figures |= {
            ("cosine", pair): cosine
            for pair, cosine in record.cosines.items()
            if _known(self._pairs, pair, _MOST_PAIRS)
        }
        lengths = [norm for norm in record.norms.values() if norm > 0.0]
        if len(lengths) > 1:
            figures["imbalance"] = max(lengths) / min(lengths)
        if record.cosines:
            figures["conflict"] = sum(cosine < 0.0 for cosine in record.cosines.values()) / len(record.cosines)
        scalars = {"update_norm": record.scalars.get("gradient_update_norm"), "lr": record.scalars.get("lr")}
        scalars |= {name: record.solver.get(name) for name in ("residual", "seconds")}
        scalars["reused"] = float(record.reused) if record.solver else None
        return figures | {name: figure for name, figure in scalars.items() if figure is not None}


def _known(names: dict[Any, None], name: Any, most: int) -> bool:
    if name not in names and len(names) < most:
        names[name] = None
    return name in names
