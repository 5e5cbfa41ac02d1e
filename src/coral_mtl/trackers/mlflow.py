"""Figures for MLflow."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from coral_mtl.config.sections import MLflow as Settings
from coral_mtl.errors import MissingExtraError
from coral_mtl.trackers.tracker import TrackedRun

_TAG = "coral_mtl.run"
_BATCH = 1000  # the most that MLflow takes in at once
_PATIENCE = 10.0  # seconds
_LONGEST = 500  # characters of a parameter that every store takes


class MLflow:
    """A run of MLflow; figures are handed over by the thousand, or every ten seconds."""

    def __init__(self, run: TrackedRun, settings: Settings) -> None:
        """Open the run, or take up the one that carries the run's id as its tag.

        Raises:
            MissingExtraError: mlflow is not installed.
        """
        try:
            from mlflow import MlflowClient  # noqa: PLC0415 - an extra
            from mlflow.entities import Metric, Param  # noqa: PLC0415
        except ImportError as problem:
            raise MissingExtraError("MLflow", "mlflow", "mlflow") from problem
        self._metric = Metric
        self._client = MlflowClient(tracking_uri=settings.tracking_uri)
        self._waiting: list[Any] = []
        self._sent = time.monotonic()
        name = settings.experiment or run.experiment
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self._client.create_experiment(name)
        found = self._client.search_runs([place], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(place, run_name=run.name, tags={_TAG: run.id}).info.run_id
        self._client.log_batch(self._id, params=[Param(key, value) for key, value in _flat(run.config)])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in the figures; characters of their names that MLflow refuses become `_`."""
        now = int(1000 * time.time())
        self._waiting += [self._metric(_allowed(name), value, now, step) for name, value in values.items()]
        if len(self._waiting) >= _BATCH or time.monotonic() - self._sent > _PATIENCE:
            self._send()

    def close(self, *, failed: bool) -> None:
        """Hand over the rest, and mark the run as finished or failed."""
        self._send()
        self._client.set_terminated(self._id, status="FAILED" if failed else "FINISHED")

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting[:_BATCH])
            del self._waiting[:_BATCH]
        self._sent = time.monotonic()


def _flat(config: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        inner = f"{key}.{name}" if key else name
        if isinstance(value, Mapping):
            yield from _flat(value, inner)
        else:
            yield _allowed(inner), str(value)[:_LONGEST]


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
