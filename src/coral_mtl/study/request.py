"""What `coral-mtl compare` is asked for: strategies on a configuration, finished runs, or a comparison begun before."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from coral_mtl.config import load_config
from coral_mtl.errors import ConfigError
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
    without: tuple[str, ...] | None = None

    def begin(self, targets: Sequence[str], command: Sequence[str] = ()) -> Comparison | Assessment:
        """Return the comparison that is to be run, or the result on runs that are there already.

        `command` is what asked for it.

        Raises:
            ConfigError: what is named is none of the three, or an option has no effect on it.
            DataError: the runs have nothing in common that could be compared.
        """
        first = Path(targets[0])
        if len(targets) == 1 and (first / COMPARISON).exists():
            useful = {"without", "metric" if self.metric else "jobs"}
            self._refuse_others(useful, f"{first / COMPARISON} says it")
            there = Comparison.reopen(first, self.without or None)
            return there.by_another(self.metric) if self.metric else there
        if first.is_dir():
            self._refuse_others({"metric"}, "these runs are there already")
            return compare_runs([Path(target) for target in targets], self.metric)
        everything = {each.name for each in fields(self)}
        self._refuse_others(everything - {"without"}, "it goes with the folder of a comparison")
        config = load_config(first, targets[1:], compare=True)
        if config.compare is not None:
            useful = {"seeds", "tune", "metric", "output", "jobs"}
            self._refuse_others(useful, f"the section compare of {first} says what to compare")
        definition = define(
            config,
            self.strategies or (),
            self.seeds or _SEEDS,
            self.metric,
            single_task=self.include == "single-task",
            static_grid=bool(self.static_grid),
            tune=self.tune or (),
        )
        folder = self.output or dated_path(Path("runs") / config.name, "comparison")
        return Comparison.create(folder, definition, config, command)

    def _refuse_others(self, useful: set[str], reason: str) -> None:
        for each in fields(self):
            if each.name not in useful and getattr(self, each.name):
                option = f"--{each.name.replace('_', '-')}"
                raise ConfigError(f"{option} has no effect: {reason}\n    leave it out", option=each.name)
