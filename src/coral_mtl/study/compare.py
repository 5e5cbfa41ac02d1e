"""A comparison of strategies on equal terms: its folder, its runs, and what comes of them.

`comparison.json` holds the command, the definition, the list of runs, what was tuned and the result; `config.yaml` the
configuration that all runs share; `runs/` and `tuning/` ordinary run folders; `output/` what the processes printed.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from coral_mtl.atomic import atomic_writing
from coral_mtl.config import Config, load_config
from coral_mtl.diagnostics.strict import dumps
from coral_mtl.errors import ConfigError, CoralError, TrainingError
from coral_mtl.experiment import choose_device
from coral_mtl.running.environment import describe_environment, usable_cores
from coral_mtl.study.assessment import Assessment, assess
from coral_mtl.study.definition import Definition
from coral_mtl.study.folder import CONFIG, check_changes, holds, make_folder
from coral_mtl.study.measured import Measured, idle_strategies, read_run, require_metric
from coral_mtl.study.plan import Plan, Planned
from coral_mtl.study.processes import Job, run_jobs
from coral_mtl.study.target import Target, known_target
from coral_mtl.study.tune import choose, described, noted

SCHEMA = 1
COMPARISON = "comparison.json"


class Comparison:
    """A comparison in its folder; `create` and `reopen` are the ways to one."""

    def __init__(self, folder: Path, definition: Definition, config: Config, command: str | None) -> None:
        self.folder = folder
        self.command = command
        self.definition = definition
        self.config = config
        self._device = choose_device(config.trainer.device)
        self._plan = Plan(folder, folder / CONFIG, definition, config)
        self._without: tuple[str, ...] = ()
        self._starts: dict[tuple[int, str], tuple[str, str]] = {}

    @classmethod
    def create(cls, folder: Path, definition: Definition, config: Config, command: Sequence[str] = ()) -> Self:
        """Make the folder of a new comparison, or take up the one that is there where it is the same comparison.

        Early stopping is left out, so that all runs take the same steps. `command` is noted for people to repeat it.

        Raises:
            ConfigError: a strategy cannot be run on this configuration, or the folder holds something else.
        """
        trainer = config.trainer.model_copy(update={"early_stopping": None, "output_dir": None})
        shared = config.model_copy(update={"trainer": trainer, "compare": None})
        if (folder / COMPARISON).exists():
            there = cls.reopen(folder)
            if there.definition != definition or not holds(folder, shared):
                raise ConfigError(
                    f"{folder}: this folder holds another comparison\n"
                    f"    choose another one with --output, or go on with that one: coral-mtl compare {folder}"
                )
            return there
        comparison = cls(folder, definition, shared, _repeatable(command) if command else None)
        everything = comparison._plan.contenders
        seed = definition.seeds[0]
        check_changes(shared, (each.overrides(v, seed) for each in everything for v in range(len(each.variants))))
        make_folder(folder, shared)
        comparison._write("created")
        return comparison

    @classmethod
    def reopen(cls, folder: Path, without: Sequence[str] | None = ()) -> Self:
        """Open the folder of a comparison that was begun before, and go on without some of its contenders.

        Args:
            folder: of the comparison.
            without: labels of those whose runs fail again and again, which the result will tell; None takes those that
                were left out before.

        Raises:
            ConfigError: it is not such a folder, or what is left cannot be compared.
        """
        try:
            found = json.loads((folder / COMPARISON).read_text())
            definition = Definition.from_dict(found["definition"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ConfigError(f"{folder}: this is not the folder of a comparison: {problem}") from problem
        comparison = cls(folder, definition, load_config(folder / CONFIG), found.get("command"))
        comparison._without = tuple(found.get("without", ()) if without is None else without)
        if comparison._without:
            comparison._plan.leave_out(comparison._without)
        return comparison

    def run(
        self, at_once: int | None = None, *, tell: Callable[[str], None], stop: Callable[[], bool]
    ) -> Assessment | None:
        """Make all runs that are not there yet and return the result, or None where `stop` answered True first.

        Args:
            at_once: processes side by side; None takes as many as there are cores, on a GPU one.
            tell: told a line for each run.
            stop: asked time and again; running processes write a checkpoint then.

        Raises:
            TrainingError: a run failed in another way than by diverging, or runs of one seed do not start from the same
                weights and data, or do not take the same steps.
            DataError: every run diverged.
        """
        try:
            return self._run(at_once or self._processes_at_once(), tell, stop)
        except CoralError as error:
            self._write("failed", failure=str(error))
            raise

    def _run(self, processes: int, tell: Callable[[str], None], stop: Callable[[], bool]) -> Assessment | None:
        self._starts = {}
        trials = self._trials()
        if not self._made("tuning", [run for each in trials.values() for run in each], processes, tell, stop):
            return None
        chosen = self._chosen()
        if not self._made("run", self._plan.runs(chosen), processes, tell, stop):
            return None
        result = self._assess(chosen, self.definition.target)
        self._write("finished", chosen=chosen, result=result)
        return result

    def by_another(self, metric: str) -> Assessment:
        """Return what the runs, all of which must be there, say by another metric; nothing is run, tuned or written.

        Raises:
            ConfigError: not all runs have come to their end, or they have no such metric.
            DataError: every run diverged.
        """
        return self._assess(self._chosen(), known_target(metric))

    def _chosen(self) -> dict[str, int]:
        """Which variant of each contender did best on the tuning seeds."""
        trials = self._trials()
        return {each.label: choose(trials.get(each.label, ())) for each in self._plan.contenders}

    def _made(
        self, what: str, planned: Sequence[Planned], at_once: int, tell: Callable[[str], None], stop: Callable[[], bool]
    ) -> bool:
        """Make the runs; return False where a stop was asked for before all were there."""
        by_job = {run.job: run for run in planned}
        count = 0

        def finished(job: Job) -> None:
            nonlocal count
            count += 1
            tell(f"{what} {count}/{len(planned)}: {job.label}: {_ending(by_job[job])}")

        for job in (job for job in by_job if job.held):
            tell(f"{what}: {job.label}: a process of before is still at it, and is waited for")
        if not all(job.done for job in by_job):  # a result that is there stays until there is something to do
            self._write("running")
        left = run_jobs(
            list(by_job), at_once, begun=lambda job: self._check_start(by_job[job]), finished=finished, stop=stop
        )
        if left and not stop():
            failed = dict.fromkeys((*self._without, *(by_job[job].contender.label for job in left)))
            dispensable = [label for label in failed if label != self.definition.baseline]
            raise TrainingError(_failed(left, self.folder, dispensable))
        if left:
            self._write("interrupted")
        return not left

    def _processes_at_once(self) -> int:
        """How many runs fit side by side: one on a GPU, else as many as there are cores for them."""
        if self._device.type != "cpu":
            return 1
        return max(1, usable_cores() // (1 + self.config.data.num_workers))

    def _check_start(self, run: Planned) -> None:
        """Hold what a run starts from against the first run of its seed, but for what its settings say is its own."""
        for what, found in (run.job.facts or {})["fingerprints"].items():
            if what in run.contender.unlike:
                continue
            label, first = self._starts.setdefault((run.seed, what), (run.job.label, found))
            if found != first:
                raise TrainingError(
                    f"{run.job.label} does not start from the same {what} as {label}, so that they cannot be compared"
                    "\n    look for randomness that does not follow the seed: in the data set, the model or a strategy"
                )

    def _assess(self, chosen: Mapping[str, int], target: Target) -> Assessment:
        runs: dict[str, dict[int, Measured]] = {}
        alone: dict[str, dict[int, Measured]] = {}
        for run in self._plan.runs(chosen):
            task = run.contender.task
            into = runs if task is None else alone
            into.setdefault(task or run.contender.label, {})[run.seed] = read_run(run.job.folder)
        taken = {run.steps for each in (*runs.values(), *alone.values()) for run in each.values() if not run.diverged}
        if len(taken) > 1:
            raise TrainingError(f"the runs did not take the same number of optimiser steps: {sorted(taken)}")
        require_metric(target.metric, (run for each in (*runs.values(), *alone.values()) for run in each.values()))
        return assess(
            runs,
            target,
            self.definition.baseline,
            single_task=alone,
            differences=idle_strategies({label: each.values() for label, each in runs.items()}),
            notes=[*self._settings(), *self._left_out(), *self._tuned(chosen)],
        )

    def _settings(self) -> list[str]:
        """What each variant changes."""
        return [f"{name}: {', '.join(keys) or 'as it is'}" for name, keys in self.definition.variants.items()]

    def _tuned(self, chosen: Mapping[str, int]) -> list[str]:
        """What was chosen for each contender that had something to choose."""
        return [noted(trials, chosen[label]) for label, trials in self._trials().items()]

    def _left_out(self) -> list[str]:
        """Who is not among the contenders any more."""
        return [f"{label} was left out (--without): the verdict is about the others" for label in self._without]

    def _trials(self) -> dict[str, list[Planned]]:
        """The trials of each contender that has something to choose."""
        found = {each.label: self._plan.trials(each) for each in self._plan.contenders}
        return {label: trials for label, trials in found.items() if trials}

    def _write(
        self,
        status: str,
        *,
        failure: str | None = None,
        chosen: Mapping[str, int] | None = None,
        result: Assessment | None = None,
    ) -> None:
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.config.name,
            "status": status,
            "failure": failure,
            "command": self.command,
            "definition": asdict(self.definition),
            "without": list(self._without),
            "environment": describe_environment(self._device),
            "tuning": {},
            "runs": [],
            "result": None,
        }
        if chosen is not None and result is not None:
            content["tuning"] = {k: described(trials, chosen[k]) for k, trials in self._trials().items()}
            content["runs"] = [self._listed(run) for run in self._plan.runs(chosen)]
            content["result"] = asdict(result)
        with atomic_writing(self.folder / COMPARISON) as file:
            file.write(dumps(content, indent=2).encode() + b"\n")

    def _listed(self, run: Planned) -> dict[str, Any]:
        folder = str(run.job.folder.relative_to(self.folder.absolute()))
        return {"strategy": run.contender.label, "task": run.contender.task, "seed": run.seed, "folder": folder}


def _repeatable(command: Sequence[str]) -> str:
    """Return a command as text for a shell, with the folder that its paths count from."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(command)}"


def _ending(run: Planned) -> str:
    measured = read_run(run.job.folder)
    if measured.diverged:
        return f"diverged: {measured.diverged.splitlines()[0]}"
    return f"{run.target.metric} {measured.figure(run.target.metric):.4g}"


def _failed(jobs: Sequence[Job], folder: Path, dispensable: Sequence[str]) -> str:
    lines = [f"    {job.label}: {_last_words(job.log)}; all that it printed: {job.log}" for job in jobs]
    again = ["coral-mtl", "compare", str(folder)]
    without = [*again, *(word for label in dispensable for word in ("--without", label))]
    count = "1 run" if len(jobs) == 1 else f"{len(jobs)} runs"
    lines.append(f"    what is done stays; go on with: {shlex.join(again)}")
    if dispensable:
        lines.append(f"    or go on to what the others come to: {shlex.join(without)}")
    return "\n".join([f"{count} failed", *lines])


def _last_words(log: Path) -> str:
    """The last line that is not indented, which the line of an error is not."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line for line in reversed(lines) if line.strip() == line != ""), "it printed nothing")
