"""A search through configurations with Optuna: trials are ordinary runs, and an interrupted search goes on.

The folder of a study holds `config.yaml` (the file with its section `study`), `study.sqlite` (Optuna's storage, one
file), `trials/` and `study.json` (the result).
"""

import json
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from coral_mtl.atomic import atomic_writing
from coral_mtl.config import Config, load_config
from coral_mtl.config.study import Objective
from coral_mtl.diagnostics.strict import dumps
from coral_mtl.engine.reports import Observer, ValidationReport
from coral_mtl.engine.trainer import Outcome
from coral_mtl.errors import CheckpointError, ConfigError, CoralError, MissingExtraError
from coral_mtl.experiment import build_experiment
from coral_mtl.running.folder import METRICS, RUN, dated_path
from coral_mtl.running.run import Run
from coral_mtl.study.folder import CONFIG, check_changes, holds, make_folder
from coral_mtl.study.measured import ENDED
from coral_mtl.study.space import Settings, extremes, overrides, suggested

STORAGE = "study.sqlite"
RESULT = "study.json"
_NAME = "study"
_FAILURE = "failure"
_PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    state: complete, pruned, fail, or running where it was interrupted.
    settings: by dotted key. values: of the objectives, at the best validation. failure: why it failed.
    """

    number: int
    state: str
    settings: Settings
    values: dict[str, float]
    folder: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a study found: all trials, and the numbers of the best; with several objectives, of the Pareto front.

    objectives: `max` or `min` by metric.
    """

    objectives: dict[str, str]
    trials: tuple[Trial, ...]
    best: tuple[int, ...]


class Search:
    """A study in its folder; `begin` and `create` are the ways to one."""

    def __init__(self, folder: Path, config: Config) -> None:
        if config.study is None:
            raise ConfigError("this configuration has no section study\n    say there what to search through")
        self.folder = folder
        self._asked = config.study
        own = Objective(metric=config.trainer.model_selection_metric, mode=config.trainer.metric_mode)
        self._objectives: Sequence[Objective] = config.study.objectives or [own]
        self._optuna = _optuna()
        self._config = config

    @classmethod
    def begin(cls, targets: Sequence[str], output: Path | None = None) -> Self:
        """Return the study that `coral-mtl study` names: a configuration with overrides, or the folder of a study.

        Raises:
            ConfigError: see `create`; or options that have no effect on a study that was begun before.
            MissingExtraError: Optuna is not installed.
        """
        first = Path(targets[0])
        if not (first / STORAGE).exists():
            config = load_config(first, targets[1:], study=True)
            return cls.create(output or dated_path(Path("runs") / config.name, "study"), config)
        if output is not None or len(targets) > 1:
            raise ConfigError(f"{first}: this study was begun before, and nothing about it can be changed now")
        return cls(first, load_config(first / CONFIG, study=True))

    @classmethod
    def create(cls, folder: Path, config: Config) -> Self:
        """Make the folder of a new study, or take up the one that is there where it is the same study.

        Raises:
            ConfigError: the configuration has no section `study`, its bounds are no legal settings, or the folder holds
                something else.
            MissingExtraError: Optuna is not installed.
        """
        search = cls(folder, config)
        if (folder / STORAGE).exists():
            if not holds(folder, config):
                raise ConfigError(
                    f"{folder}: this folder holds another study\n"
                    f"    choose another one with --output, or go on with that one: coral-mtl study {folder}"
                )
            return search
        check_changes(config, map(overrides, extremes(search._asked.space)))
        make_folder(folder, config)
        return search

    def run(self, *, tell: Callable[[str], None], stop: Callable[[], bool]) -> Found | None:
        """Make the trials that are not there yet and return what was found, or None where `stop` answered True first.

        Args:
            tell: told a line for each trial.
            stop: asked time and again; the running trial writes a checkpoint then.
        """
        study = self._study()
        states = self._optuna.trial.TrialState
        while len(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.FAIL))) < (
            self._asked.n_trials
        ):
            if stop():
                return None
            begun = study.get_trials(deepcopy=False, states=(states.RUNNING,))
            number = begun[0].number if begun else study.ask().number
            if not self._made(study, number, stop):
                return None
            tell(_line(self._trial(study.trials[number]), self._asked.n_trials))
        found = self.found()
        with atomic_writing(self.folder / RESULT) as file:
            file.write(dumps(asdict(found), indent=2).encode() + b"\n")
        return found

    def found(self) -> Found:
        """Return what was found so far."""
        study = self._study()
        complete = self._optuna.trial.TrialState.COMPLETE
        best = study.best_trials if study.get_trials(deepcopy=False, states=(complete,)) else []
        return Found(
            objectives={each.metric: each.mode for each in self._objectives},
            trials=tuple(map(self._trial, study.trials)),
            best=tuple(trial.number for trial in best),
        )

    def _study(self) -> Any:
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        directions = {"max": "maximize", "min": "minimize"}
        pruner = self._asked.pruner
        return self._optuna.create_study(
            storage=f"sqlite:///{self.folder.absolute() / STORAGE}",
            study_name=_NAME,
            directions=[directions[each.mode] for each in self._objectives],
            pruner=self._optuna.pruners.NopPruner()
            if pruner is None
            else self._optuna.pruners.MedianPruner(
                n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.warmup_epochs
            ),
            load_if_exists=True,
        )

    def _made(self, study: Any, number: int, stop: Callable[[], bool]) -> bool:
        """Make one trial, or go on with it; return False where a stop was asked for."""
        # A sampler of its own for each trial: a resumed study then suggests what it would have suggested.
        seed = np.random.SeedSequence([self._asked.seed, number]).generate_state(1)[0]
        study.sampler = self._optuna.samplers.TPESampler(seed=int(seed))
        trial = self._optuna.trial.Trial(study, study.trials[number]._trial_id)
        settings = suggested(trial, self._asked.space)
        watch = _Watch(trial, self._objectives[0].metric, prunes=self._asked.pruner is not None)
        states = self._optuna.trial.TrialState
        try:
            outcome = self._trained(number, settings, watch, stop)
        except CheckpointError:  # says nothing about the settings
            raise
        except CoralError as error:
            trial.set_user_attr(_FAILURE, str(error).partition("\n")[0])
            study.tell(number, state=states.FAIL)
            return True
        if outcome == _PRUNED:
            study.tell(number, state=states.PRUNED)
        elif outcome == Outcome.INTERRUPTED:
            return False
        else:
            self._tell_values(study, trial)
        return True

    def _trained(self, number: int, settings: Settings, watch: "_Watch", stop: Callable[[], bool]) -> str:
        """Train, or go on with, the run of a trial; return how it ended."""
        folder = self._run_folder(number)
        if (folder / RUN).exists():
            run = Run.reopen(folder)
            if run.folder.facts["status"] in (*ENDED, _PRUNED):
                return str(run.folder.facts["status"])
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed before its run began
            where = f"trainer.output_dir={json.dumps(str(folder))}"
            config = load_config(self.folder / CONFIG, [*overrides(settings), where])
            run = Run.create(build_experiment(config), command=sys.argv)
        outcome = run.train([watch], lambda: watch.pruned or stop())
        if outcome is Outcome.INTERRUPTED and watch.pruned:
            run.folder.record(_PRUNED)
            return _PRUNED
        return str(outcome)

    def _tell_values(self, study: Any, trial: Any) -> None:
        """Give Optuna the figures of the best validation, those of `checkpoints/best.pt`."""
        records = map(json.loads, (self._run_folder(trial.number) / METRICS).read_text().splitlines())
        best = [record["metrics"] for record in records if record["best"]]
        values = [best[-1].get(each.metric) for each in self._objectives] if best else [None]
        if all(value is not None and math.isfinite(value) for value in values):
            study.tell(trial.number, values)
        else:
            trial.set_user_attr(_FAILURE, "a figure of its best validation is not finite")
            study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def _run_folder(self, number: int) -> Path:
        return self.folder.absolute() / "trials" / f"{number:04d}"

    def _trial(self, trial: Any) -> Trial:
        metrics = [each.metric for each in self._objectives]
        return Trial(
            number=trial.number,
            state=trial.state.name.lower(),
            settings=dict(trial.params),
            values=dict(zip(metrics, trial.values, strict=True)) if trial.values else {},
            folder=str(self._run_folder(trial.number).relative_to(self.folder.absolute())),
            failure=trial.user_attrs.get(_FAILURE),
        )


class _Watch(Observer):
    """Tells Optuna of the validations of a trial, and asks whether the rest of it is worth while."""

    def __init__(self, trial: Any, metric: str, *, prunes: bool) -> None:
        self._trial = trial
        self._metric = metric
        self._prunes = prunes
        self.pruned = False

    def on_validation(self, report: ValidationReport) -> None:
        if self._prunes and math.isfinite(report.metrics[self._metric]):
            self._trial.report(report.metrics[self._metric], report.epoch)
            self.pruned = self._trial.should_prune()


def _line(trial: Trial, count: int) -> str:
    figures = "  ".join(f"{metric} {value:.4f}" for metric, value in trial.values.items())
    settings = "  ".join(f"{key}={_shown(value)}" for key, value in trial.settings.items())
    return f"trial {trial.number + 1}/{count}: {figures or trial.failure or trial.state}  ({settings})"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - an optional package
    except ImportError:
        raise MissingExtraError("coral-mtl study", "optuna", "study") from None
    return optuna
