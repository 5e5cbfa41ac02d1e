"""What a report says in words and tables: results, who pays for them, findings, health."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from coral_mtl.config.effects import BETTER, TELLING
from coral_mtl.diagnostics.finding import KINDS, Finding
from coral_mtl.report.groups import Group
from coral_mtl.running.settings import SELECTION

_LEVELS = ("grouped", "ungrouped")
_SCORE = "global.score"


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of some values; the deviation is None where there is only one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation (divisor n - 1)."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True)
class Change:
    """The metric of a task against the baseline: by pair of runs of equal seed, or of the means where none match.

    better: whether the mean change is in the metric's good direction, None where it is 0.
    """

    changes: Spread
    paired: bool
    better: bool | None


@dataclass(frozen=True, slots=True)
class Concern:
    """A finding, and in how many of a group's runs it was made."""

    group: Group
    finding: Finding
    runs: int


def lower_is_better(metric: str) -> bool:
    """Whether smaller values of a metric are better, by the last part of its name."""
    return BETTER.get(metric.rpartition(".")[2]) == "min"


def metric_names(groups: Sequence[Group]) -> list[str]:
    """Return the names of all metrics of any run's last validation."""
    return list(dict.fromkeys(name for group in groups for run in group.runs for name in run.last))


def main_metric(groups: Sequence[Group]) -> str | None:
    """Return the metric that all runs were selected by, `global.score` where they differ, None where there is none."""
    names = metric_names(groups)
    chosen = {run.settings.get(SELECTION, _SCORE) for group in groups for run in group.runs}
    candidates = [*chosen, _SCORE] if len(chosen) == 1 else [_SCORE]
    return next((name for name in (*candidates, *names) if name in names), None)


def task_metrics(groups: Sequence[Group]) -> dict[str, str]:
    """Return the metric that tells most about each task, else the first that is not its loss."""
    by_task: dict[str, list[str]] = {}
    for name in metric_names(groups):
        prefix, _, metric = name.rpartition(".")
        for level in _LEVELS:
            if prefix.endswith(f".{level}"):
                prefix, metric = prefix.removesuffix(f".{level}"), f"{level}.{metric}"
        if prefix.startswith("tasks."):
            by_task.setdefault(prefix.removeprefix("tasks."), []).append(metric)
    chosen = {
        task: next(
            (m for m in (*TELLING, *metrics) if m in metrics and (m != "loss" or metrics == ["loss"])), metrics[0]
        )
        for task, metrics in by_task.items()
    }
    return {task: f"tasks.{task}.{metric}" for task, metric in chosen.items()}


def spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of the values, None where there are none."""
    return Spread(tuple(values)) if values else None


def baseline(groups: Sequence[Group], named: str | None = None) -> Group:
    """Return the group that others are held against: the one so named, or equal weighting, or else the first."""
    equal = (group for group in groups if group.runs[0].strategy == "Equal")
    return next((group for group in groups if group.label == named), next(equal, groups[0]))


def change(group: Group, base: Group, metric: str) -> Change | None:
    """Return how a metric differs from the baseline's, None where one of the two has no such metric."""
    ours, theirs = _by_seed(group, metric), _by_seed(base, metric)
    common = [seed for seed in ours if seed in theirs]
    if common:
        changes = [ours[seed] - theirs[seed] for seed in common]
    elif group.metric(metric) and base.metric(metric):
        changes = [mean(group.metric(metric)) - mean(base.metric(metric))]
    else:
        return None
    total = -sum(changes) if lower_is_better(metric) else sum(changes)
    return Change(Spread(tuple(changes)), bool(common), None if total == 0.0 else total > 0.0)


def concerns(groups: Sequence[Group]) -> list[Concern]:
    """Return the findings of all runs, equal ones of a group once, the most severe first."""
    found: list[Concern] = []
    for group in groups:
        findings = [finding for run in group.runs for finding in run.diagnosis.findings]
        alike = Counter((finding.kind, finding.tasks) for finding in findings)
        for key, count in alike.items():
            worst = max((f for f in findings if (f.kind, f.tasks) == key), key=lambda finding: finding.severity)
            found.append(Concern(group, worst, count))
    return sorted(found, key=lambda c: (-c.finding.severity, -c.runs, KINDS.index(c.finding.kind)))


def times(group: Group) -> Spread | None:
    """Return the milliseconds a step of a group's runs, None where no run tells."""
    return spread([run.milliseconds for run in group.runs if run.milliseconds is not None])


def memory(group: Group) -> Spread | None:
    """Return the megabytes of a group's runs at their peak, None where no run tells."""
    return spread([run.megabytes for run in group.runs if run.megabytes is not None])


def oddities(groups: Sequence[Group]) -> Iterator[str]:
    """Yield what makes a comparison of the groups unfair: steps, tasks and data that are not the same for all."""
    steps = {run.diagnosis.statistics.last_step for group in groups for run in group.runs}
    if len(steps) > 1:
        yield f"The runs took between {min(steps):,} and {max(steps):,} steps."
    if len({frozenset(group.tasks) for group in groups}) > 1:
        yield "The runs do not have the same tasks."
    if len({frozenset(run.seed for run in group.runs) for group in groups}) > 1:
        yield "Not every strategy was run with the same seeds."


def _by_seed(group: Group, metric: str) -> dict[str, float]:
    return {run.seed: run.results[metric] for run in group.runs if run.seed and metric in run.results}
