"""A run from its beginning, or from its last checkpoint, to its end, in its own folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from coral_mtl.config import dump_config, load_config
from coral_mtl.engine.checkpoint import Checkpoints
from coral_mtl.engine.reports import Observer
from coral_mtl.engine.trainer import Outcome
from coral_mtl.experiment import Experiment, build_experiment
from coral_mtl.running.environment import describe_environment, git_commit
from coral_mtl.running.fingerprints import fingerprints
from coral_mtl.running.folder import RunFolder, default_path
from coral_mtl.running.progress import Lines
from coral_mtl.running.recorder import Recorder
from coral_mtl.running.usage import Meter
from coral_mtl.trackers.observer import Tracking, openers
from coral_mtl.trackers.tracker import TrackedRun


class Run:
    """An experiment and the folder that it fills."""

    def __init__(self, experiment: Experiment, folder: RunFolder) -> None:
        self.experiment = experiment
        self.folder = folder
        self._environment = describe_environment(experiment.device)
        self._checkpoints = Checkpoints(
            folder.checkpoints, folder.id, dump_config(experiment.config), self._environment
        )
        self._saved: dict[str, Any] | None = None

    @classmethod
    def create(cls, experiment: Experiment, *, command: Sequence[str], facts: Mapping[str, Any] | None = None) -> Self:
        """Make the folder of a new run: `trainer.output_dir`, or one by date below `runs/`.

        `facts` are told in its `run.json` beside those of every run.

        Raises:
            ConfigError: the folder holds another run.
        """
        config = experiment.config
        path = config.trainer.output_dir or default_path(config.name, experiment.strategy_name, config.seed)
        about = {"name": config.name, "strategy": experiment.strategy_name, "seed": config.seed}
        about |= {"commit": git_commit(Path.cwd()), "environment": describe_environment(experiment.device)}
        about |= {"fingerprints": fingerprints(experiment), "total_steps": experiment.total_steps, **(facts or {})}
        return cls(experiment, RunFolder.create(path, dump_config(config), about, command))

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Take up the run in the folder `path` from its last checkpoint, or its beginning if it was killed before one.

        Raises:
            ConfigError: `path` is not the folder of a run, or its config.yaml is no configuration.
            CheckpointError: the checkpoint is missing, damaged, or of another run or configuration.
        """
        folder = RunFolder.open(path)
        run = cls(build_experiment(load_config(folder.config)), folder)
        if folder.diagnostics.exists() or run._checkpoints.exist():
            run._saved = run._checkpoints.load_last()
        return run

    def changes(self) -> dict[str, tuple[str, str]]:
        """What differs between the environment of the checkpoint and this one, as (then, now) by name.

        Figures of the rest of the run can differ in their last digits because of it.
        """
        then = self._saved["environment"] if self._saved else self._environment
        return {
            name: (then.get(name, "unknown"), now) for name, now in self._environment.items() if then.get(name) != now
        }

    def train(self, observers: Sequence[Observer] = (), stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Train to the end, or until `stop` answers True; see Trainer.fit.

        Raises:
            ConfigError: another process is training in this folder.
            CoralError: the run failed; its folder says so.
        """
        recorder = Recorder(
            self.folder.diagnostics,
            self.folder.metrics,
            run=self.folder.id,
            strategy=self.experiment.strategy_name,
            record_every=self.experiment.config.diagnostics.record_every,
        )
        trackers = Tracking(openers(self.experiment.config.trackers, self._tracked()))
        with self.folder.claimed_log() as log, recorder, trackers:
            lines = Lines(self.experiment, lambda line: log.write(f"{line}\n"))
            trainer = self.experiment.trainer(self._checkpoints, (recorder, lines, trackers, *observers))
            if self._saved:
                trainer.load_state_dict(self._saved["trainer"])
                log.write(f"resumed after step {trainer.step}\n")
                recorder.rewind(trainer.step, validated=not trainer.validation_due)
            self.folder.record("running")
            meter, start = Meter(self.experiment.device, self.folder.facts.get("usage")), trainer.step
            try:
                outcome = trainer.fit(stop)
            except BaseException as problem:
                failure = {"type": type(problem).__name__, "message": str(problem)}
                self.folder.record("failed", failure=failure, usage=meter.read(trainer.step - start))
                raise
            self.folder.record(str(outcome), usage=meter.read(trainer.step - start))
        return outcome

    def _tracked(self) -> TrackedRun:
        config = self.experiment.config
        return TrackedRun(
            id=self.folder.id,
            name=self.folder.path.name,
            experiment=config.name,
            folder=self.folder.path,
            step=self._saved["trainer"]["step"] if self._saved else 0,
            config=config.model_dump(mode="json"),
        )
