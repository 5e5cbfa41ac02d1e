"""What `coral-mtl compare` is asked for: strategies on a configuration, finished runs, or a comparison begun before."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from coral_mtl.config import load_config
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import strategy_name
from coral_mtl.running.folder import dated_path
from coral_mtl.study.assessment import Assessment
from coral_mtl.study.compare import COMPARISON, Comparison
from coral_mtl.study.definition import define
from coral_mtl.study.existing import compare_runs

_SEEDS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command, None or empty where they were not given."""

    strategies: tuple[str, ...] | None = None
    seeds: int | None = None
    include: str | None = None
    static_grid: bool | None = None
    tune: tuple[str, ...] | None = None
    metric: str | None = None
    output: Path | None = None
    jobs: int | None = None

    def begin(self, targets: Sequence[str]) -> Comparison | Assessment:
        """Return the comparison that is to be run, or the result on runs that are there already.

        Raises:
            ConfigError: what is named is none of the three, or an option has no effect on it.
            DataError: the runs have nothing in common that could be compared.
        """
        first = Path(targets[0])
        if len(targets) == 1 and (first / COMPARISON).exists():
            self._refuse_others({"metric"} if self.metric else {"jobs"}, f"{first / COMPARISON} says it")
            there = Comparison.reopen(first)
            return there.by_another(self.metric) if self.metric else there
        if first.is_dir():
            self._refuse_others({"metric"}, "these runs are there already")
            return compare_runs([Path(target) for target in targets], self.metric)
        config = load_config(first, targets[1:], compare=True)
        if config.compare is not None:
            useful = {"seeds", "tune", "metric", "output", "jobs"}
            self._refuse_others(useful, f"the section compare of {first} says what to compare")
        definition = define(
            config,
            self.strategies or (() if config.compare else (strategy_name(config),)),
            self.seeds or _SEEDS,
            self.metric,
            single_task=self.include == "single-task",
            static_grid=bool(self.static_grid),
            tune=self.tune or (),
        )
        return Comparison.create(
            self.output or dated_path(Path("runs") / config.name, "comparison"), definition, config
        )

    def _refuse_others(self, useful: set[str], reason: str) -> None:
        for each in fields(self):
            if each.name not in useful and getattr(self, each.name):
                option = f"--{each.name.replace('_', '-')}"
                raise ConfigError(f"{option} has no effect: {reason}\n    leave it out", option=each.name)
