"""Findings about the weights that a strategy decides: whether they move at all, and whether reused ones go stale."""

from collections.abc import Iterator

from coral_mtl.diagnostics.finding import Finding, Severity, listed, percent
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strategies import character
from coral_mtl.diagnostics.thresholds import Thresholds

_PERIODS_TO_COMPARE = 2
"""Epochs that a strategy which changes its weights at their ends may need before the first change."""


def frozen(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Weights, other than 0, that never moved under a strategy that is to move them."""
    nature = character(statistics.strategy)
    if nature is None or nature.steady in ("always", "at bounds"):
        return
    if nature.by_epoch and statistics.epochs <= _PERIODS_TO_COMPARE:
        return
    weights = {t: w for t, w in statistics.weights.figures().items() if w.count >= thresholds.min_records}
    unopposed = _unopposed(statistics) if nature.steady == "without conflict" else set()
    still = tuple(
        task
        for task, weight in weights.items()
        if weight.high - weight.low <= thresholds.frozen_change * max(abs(weight.high), abs(weight.low))
        and weight.mean != 0.0
        and task not in unopposed
    )
    if still and len(weights) > 1:
        yield Finding(
            kind="frozen",
            severity=Severity.ERROR if len(still) == len(weights) else Severity.WARNING,
            title=f"under {statistics.strategy}, which is to move it, the weight of {listed(still)} never moved",
            tasks=still,
            figures={"weights": {task: weights[task].mean for task in still}, "records": weights[still[0]].count},
            threshold=thresholds.pick("frozen_change"),
            steps=statistics.span,
            advice="check that the strategy is called at every step, and that the optimiser has what it learns",
        )


def stale(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Reused weights that are far from what a fresh decision says by the time there is one."""
    changes = statistics.refreshes.changes.figures().get("change")
    if changes is None or changes.count < thresholds.min_records:
        return
    interval = statistics.refreshes.intervals.figures()["interval"].mean
    if changes.share() >= thresholds.persistent_share:
        yield Finding(
            kind="stale",
            severity=Severity.WARNING,
            title=f"the weights change by {percent(changes.mean)} from one refresh to the next, {interval:.3g} steps"
            f" later on average ({percent(thresholds.stale_change)} or more at {percent(changes.share())} of"
            f" {changes.count} refreshes)",
            tasks=(),
            figures={
                "change": changes.mean,
                "share": changes.share(),
                "interval": interval,
                "refreshes": changes.count,
            },
            threshold=thresholds.pick("stale_change", "persistent_share"),
            steps=changes.span(statistics.span),
            advice="lower update_frequency; if they change as much at 2, that is noise between batches: enlarge them",
        )


def _unopposed(statistics: Statistics) -> set[str]:
    """The tasks whose gradient was never in conflict with another; none where that was not measured."""
    if not statistics.measured:
        return set()
    opposed = {name for pair, cosine in statistics.cosines.figures().items() if cosine.hits[0] for name in pair}
    return set(statistics.tasks) - opposed
