"""Writes what a trainer tells into the run's two record files."""

from functools import partial
from pathlib import Path
from typing import Any, Self

from coral_mtl.diagnostics.background import Background
from coral_mtl.diagnostics.record import SCHEMA, Context, make_record
from coral_mtl.diagnostics.writer import RecordWriter
from coral_mtl.engine.reports import Observer, StepReport, ValidationReport


class Recorder(Observer):
    """Writes one record a step to the diagnostics and one a validation to the metrics; a context that closes both.

    Records of steps are made and written on a thread of their own, which also is the one to wait for a GPU's figures.
    What goes wrong there is raised at the next call, at a checkpoint at the latest.
    """

    def __init__(self, diagnostics: Path, metrics: Path, *, run: str, strategy: str, record_every: int = 1) -> None:
        """Open both files of the run with the id `run`, whether they are there yet or not.

        Args:
            run: id of the run.
            strategy: name of the strategy in the records.
            record_every: steps from one record to the next; skipped steps are always recorded (default 1).
        """
        self._run = run
        self._strategy = strategy
        self._record_every = record_every
        self._diagnostics = RecordWriter(diagnostics, run)
        self._metrics = RecordWriter(metrics, run)
        self._background = Background()

    def rewind(self, step: int, *, validated: bool) -> None:
        """Drop what was recorded after the checkpoint of step `step`, and a line that a crash cut off.

        `validated` tells whether a validation at that very step was part of the checkpoint.
        """
        self._diagnostics.truncate_after(step)
        self._metrics.truncate_after(step if validated else step - 1)

    def on_step(self, report: StepReport) -> None:
        due = (report.number - 1) % self._record_every == 0
        if due or report.account.skipped or report.account.finite is not None:
            self._background.do(partial(self._write, report, due=due))

    def _write(self, report: StepReport, *, due: bool) -> None:
        account = report.account.settled()
        if not due and not account.skipped:
            return
        context = Context(
            run=self._run,
            strategy_type=self._strategy,
            step=report.number,
            micro_step=report.micro_step,
            epoch=report.epoch,
            lr=report.lr,
            clip_factor=report.clip_factor,
            restraints=report.restraints,
        )
        self._diagnostics.append(make_record(account, context))

    def on_validation(self, report: ValidationReport) -> None:
        record: dict[str, Any] = {"schema": SCHEMA, "run": self._run, "step": report.step, "epoch": report.epoch}
        self._metrics.append(record | {"metrics": report.metrics, "best": report.best})

    def on_save(self) -> None:
        self._background.wait()
        self._diagnostics.flush()
        self._metrics.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._background.close()
        finally:
            self._diagnostics.close()
            self._metrics.close()
