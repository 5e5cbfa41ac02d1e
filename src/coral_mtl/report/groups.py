"""Runs that differ in nothing but their seed, taken together; and what the configurations of the others differ in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coral_mtl.diagnostics.curves import Curve
from coral_mtl.report.runs import MOST_RUNS, ReportedRun
from coral_mtl.running.settings import ABSENT, Settings, deciding, differing, label

_OPTIONS = "loss.weighting_strategy.params."


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one method, by all seeds, under the name that the report calls them by; curves are of `drawn`."""

    label: str
    runs: tuple[ReportedRun, ...]
    drawn: tuple[ReportedRun, ...]

    @property
    def tasks(self) -> list[str]:
        """The tasks of any of its runs."""
        return list(dict.fromkeys(task for run in self.runs for task in run.diagnosis.statistics.tasks))

    @property
    def failed(self) -> int:
        """How many of its runs failed."""
        return sum(run.failed for run in self.runs)

    def curves(self, name: Any) -> tuple[Curve, ...]:
        """Return the curves of a series of the drawn runs' records, see Timeline."""
        return tuple(run.curves.curve(name) for run in self.drawn)

    def validation_curves(self, metric: str) -> tuple[Curve, ...]:
        """Return the curves of a metric of the drawn runs."""
        return tuple(run.metrics.curve(metric) for run in self.drawn)

    def metric(self, name: str) -> list[float]:
        """Return a metric of the last validation of each run that has it and did not fail."""
        return [run.results[name] for run in self.runs if name in run.results]


def grouped(runs: Sequence[ReportedRun]) -> list[Group]:
    """Gather the runs of each strategy of a comparison, or those of one method; one without settings stays alone.

    Of more than 64 runs, the first of each group are drawn, and as many of each.
    """
    gathered: dict[Any, list[ReportedRun]] = {}
    for place, run in enumerate(runs):
        method = frozenset(deciding(run.settings).items()) or place
        gathered.setdefault(run.label or (run.strategy, method), []).append(run)
    groups = list(gathered.values())
    drawn = None if len(runs) <= MOST_RUNS else max(1, MOST_RUNS // len(groups))
    return [Group(group[0].label or _label(group[0], groups), tuple(group), tuple(group[:drawn])) for group in groups]


def differences(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Return the keys in which the groups' settings differ, with the values by group; options of strategies in one."""
    settings = [group.runs[0].settings for group in groups]
    keys = differing([deciding(each) for each in settings if each])
    found = {key: [each.get(key, ABSENT) for each in settings] for key in keys if not key.startswith(_OPTIONS)}
    options = [_options(each, [key for key in keys if key.startswith(_OPTIONS)]) for each in settings]
    return found | ({_OPTIONS.rstrip("."): options} if any(options) else {})


def _options(settings: Settings, keys: Sequence[str]) -> str:
    return ", ".join(f"{key.removeprefix(_OPTIONS)} {settings[key]}" for key in keys if key in settings)


def _label(run: ReportedRun, groups: Sequence[Sequence[ReportedRun]]) -> str:
    twins = [group[0] for group in groups if group[0].strategy == run.strategy]
    told = label(run.strategy, deciding(run.settings), [deciding(twin.settings) for twin in twins])
    return told if len(twins) == 1 or told != run.strategy else f"{run.strategy}({run.name})"
