"""The runs that a comparison is made of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coral_mtl import registry
from coral_mtl.config import Config
from coral_mtl.errors import ConfigError
from coral_mtl.losses.objective import Objective
from coral_mtl.study.contenders import Contender, contenders, single_task, static_grid, tuned, variant
from coral_mtl.study.definition import Definition
from coral_mtl.study.processes import Job
from coral_mtl.study.target import Target, leading_targets

_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Planned:
    """One run: of which contender and variant, on which seed, what it is judged by, and how it is made."""

    contender: Contender
    variant: int
    seed: int
    target: Target
    job: Job


class Plan:
    """All runs of a comparison whose folder is `folder` and whose shared configuration is the file `config`."""

    def __init__(self, folder: Path, config_file: Path, definition: Definition, config: Config) -> None:
        """Plan the runs.

        Raises:
            ConfigError: a strategy's name or form is wrong, or the runs do not have the metric to compare by.
        """
        self._folder = folder.absolute()
        self._config = config_file.absolute()
        self._definition = definition
        tasks = registry.data.get(config.data.type).task_specs(**config.data.params)
        terms = Objective(config.loss.build(tasks), balance=config.loss.balance).terms
        metrics = config.metrics.build(tasks).names
        if definition.target.metric not in metrics:
            raise ConfigError(
                f'no metric called "{definition.target.metric}" to compare by\n    the runs have: {", ".join(metrics)}'
            )
        alone = leading_targets(metrics) if definition.single_task else {}
        known = [
            *([variant(*each) for each in definition.variants.items()] or contenders(definition.strategies, config)),
            *([static_grid(terms)] if definition.static_grid else []),
            *(single_task(terms, task) for task in alone),
        ]
        self.contenders = [tuned(each, definition.grid) for each in known]
        self._numbers = {each.label: number for number, each in enumerate(self.contenders)}
        self._targets = alone

    def leave_out(self, labels: Sequence[str]) -> None:
        """Go on without these contenders; without one task alone the others alone are no longer of use either.

        Raises:
            ConfigError: there is no such contender, or fewer than two are left, or the baseline is not among them.
        """
        unknown = next((label for label in labels if label not in self._numbers), None)
        if unknown is not None:
            known = "; ".join(self._numbers)
            raise ConfigError(f'nothing here is called "{unknown}"\n    there are: {known} (--without)')
        alone = any(each.task is not None and each.label in labels for each in self.contenders)
        left = [each for each in self.contenders if each.label not in labels and not (alone and each.task is not None)]
        baseline = self._definition.baseline
        if baseline not in [each.label for each in left] or sum(each.task is None for each in left) < _FEWEST:
            raise ConfigError(f"what is left cannot be compared: it takes {baseline} and another one (--without)")
        self.contenders = left

    def trials(self, each: Contender) -> list[Planned]:
        """The runs that choose among the variants of a contender; none where there is nothing to choose."""
        if len(each.variants) == 1:
            return []
        variants, seeds = range(len(each.variants)), self._definition.tuning_seeds
        return [self._planned(each, variant, seed, "tuning") for variant in variants for seed in seeds]

    def runs(self, chosen: Mapping[str, int]) -> list[Planned]:
        """The runs that are compared, with the chosen variants, seed by seed."""
        return [
            self._planned(each, chosen[each.label], seed, "runs")
            for seed in self._definition.seeds
            for each in self.contenders
        ]

    def _planned(self, each: Contender, variant: int, seed: int, stage: str) -> Planned:
        name = f"{self._numbers[each.label]:02d}_{_file_name(each.label)}"
        name += f"_v{variant}_s{seed}" if stage == "tuning" else f"_s{seed}"
        job = Job(
            label=f"{each.label}, seed {seed}",
            config=self._config,
            overrides=each.overrides(variant, seed),
            folder=self._folder / stage / name,
            log=self._folder / "output" / f"{stage}_{name}.txt",
        )
        target = self._definition.target if each.task is None else self._targets[each.task]
        return Planned(each, variant, seed, target, job)


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+=-]+", "_", label).strip("_")
