"""Telling the runs of one file apart, also where nothing but the order of its lines says where one begins."""

from dataclasses import dataclass

from coral_mtl.diagnostics.lines import Remark
from coral_mtl.errors import DataError

_MOST_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record belongs: the label of its run, the run's strategy (None where no line names one), the step."""

    run: str
    strategy: str | None
    step: int
    epoch: int | None


class Runs:
    """The runs of a file, as far as it has been read."""

    def __init__(self, path: object) -> None:
        """Start before the first line of the file that errors call `path`."""
        self.path = path
        self._last: dict[str | None, Place] = {}
        self._labels: set[str] = set()

    def place(
        self,
        run_id: str | None,
        strategy: str | None,
        step: int | None,
        epoch: int | None,
        *,
        line: int,
        remark: Remark,
    ) -> Place:
        """Return the place of the next record, given what its line says.

        A run begins where the id or the strategy is another one, and where steps go back. Steps that go back while the
        epoch goes on belong to the same run: there are programs that count the steps of each epoch. A strategy that the
        line leaves out is that of the line before, a step the next one.

        Raises:
            DataError: the file holds more than 1,000 runs.
        """
        last = self._last.get(run_id)
        if step is None:
            remark(line, "no step: numbered after the record before")
            step = last.step + 1 if last else 1
        if last is None or strategy not in (None, last.strategy or strategy):
            place = Place(self._new_label(run_id), strategy, step, epoch)
        else:
            goes_on = epoch is not None and last.epoch is not None and epoch > last.epoch
            if step < last.step and goes_on:
                remark(line, "steps start again with an epoch: taken as the same run")
            same = step >= last.step or goes_on
            epoch = last.epoch if epoch is None and same else epoch
            place = Place(last.run if same else self._new_label(run_id), strategy or last.strategy, step, epoch)
        self._last[run_id] = place
        return place

    def _new_label(self, run_id: str | None) -> str:
        number = len(self._labels) + 1
        if number > _MOST_RUNS:
            raise DataError(
                f"{self.path}: more than {_MOST_RUNS} runs, as its steps or strategies change back and forth\n"
                "    write one file a run"
            )
        label = f"run {number}" if run_id is None else run_id
        if label in self._labels:
            label = f"{label} (run {number} of this file)"
        self._labels.add(label)
        return label
