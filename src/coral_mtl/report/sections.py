"""Which charts stand in which section of a report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from coral_mtl.diagnostics.reader import Pair
from coral_mtl.report.charts import MOST_LINES, NOISY, Chart, by_pair, by_strategy, by_task, fitted, of_metric
from coral_mtl.report.groups import Group
from coral_mtl.report.summary import lower_is_better, metric_names

_MOST_METRICS = 36
_MOST_FIGURES = 60_000
"""Of all charts together, which makes less than half a megabyte of text."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The charts by section."""

    validation: tuple[Chart, ...]
    validation_losses: tuple[Chart, ...]
    losses: tuple[Chart, ...]
    conflict: tuple[Chart, ...]
    norms: tuple[Chart, ...]
    weights: tuple[Chart, ...]
    updates: tuple[Chart, ...]
    health: tuple[Chart, ...]

    def all(self) -> list[Chart]:
        """Return the charts of all sections."""
        return [chart for field in fields(self) for chart in getattr(self, field.name)]


def sections(groups: Sequence[Group]) -> Sections:
    """Return the charts of the groups, coarse enough for a page of less than 1 MB."""
    tasks = list(dict.fromkeys(task for group in groups for task in group.tasks))
    pairs, note = _pairs(groups)
    places = list(enumerate(groups))
    losses = [name for name in metric_names(groups) if name.endswith("loss")]
    metrics = [name for name in metric_names(groups) if name not in losses]
    parts: dict[str, list[Chart]] = {
        "validation": list(_validation("validation", groups, metrics)),
        "validation_losses": list(_validation("validation-loss", groups, losses)),
        "losses": [
            chart
            for place, task in enumerate(tasks[:_MOST_METRICS])
            for chart in by_strategy(f"loss-{place}", task, "loss", groups, ("loss", task))
        ],
        "conflict": [
            *by_strategy(
                "conflict",
                "Pairs in conflict",
                "share with cosine < 0",
                groups,
                "conflict",
                limits=(0.0, 1.0),
                most_points=NOISY,
            ),
            *(chart for place, group in places for chart in by_pair(group, place, pairs, note)),
        ],
        "norms": [
            *by_strategy(
                "imbalance", "Longest over shortest", "ratio", groups, "imbalance", logarithmic=True, most_points=NOISY
            ),
            *(c for place, group in places for c in by_task(group, place, "norm", "norm", tasks, logarithmic=True)),
        ],
        "weights": [c for place, group in places for c in by_task(group, place, "weight", "weight", tasks)],
        "updates": [
            *by_strategy("update", "Update", "norm", groups, "update_norm", logarithmic=True, most_points=NOISY),
            *by_strategy("lr", "Learning rate", "per step", groups, "lr"),
        ],
        "health": list(by_strategy("residual", "Solver", "scale-free residual", groups, "residual", logarithmic=True)),
    }
    coarse = iter(fitted([chart for part in parts.values() for chart in part], _MOST_FIGURES))
    return Sections(**{name: tuple(next(coarse) for _ in part) for name, part in parts.items()})


def _validation(key: str, groups: Sequence[Group], metrics: Sequence[str]) -> Iterator[Chart]:
    """The tasks' metrics, then the global ones."""
    order = sorted(metrics, key=lambda name: not name.startswith("tasks."))
    for place, metric in enumerate(order[:_MOST_METRICS]):
        title = metric.rpartition(".")[0].removeprefix("tasks.")
        note = "Lower is better." if lower_is_better(metric) else ""
        yield from of_metric(f"{key}-{place}", metric, title, groups, note)


def _pairs(groups: Sequence[Group]) -> tuple[list[Pair], str]:
    """The pairs to draw, those in the worst conflict anywhere where there are too many, and a note about it."""
    means: dict[Pair, float] = {}
    for group in groups:
        for run in group.runs:
            for pair, figures in run.diagnosis.statistics.cosines.figures().items():
                means[pair] = min(means.get(pair, 1.0), figures.mean) if figures.count else means.get(pair, 1.0)
    if len(means) <= MOST_LINES:
        return list(means), ""
    worst = sorted(means, key=lambda pair: means[pair])[:MOST_LINES]
    return worst, f"The {MOST_LINES} of {len(means)} pairs with the lowest mean cosine in any run."
