"""Findings about the run itself: whether its figures, its tasks and its solver are sound."""

from collections.abc import Iterator

from coral_mtl.diagnostics.finding import Finding, Severity, percent
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.tally import Figures
from coral_mtl.diagnostics.thresholds import Thresholds
from coral_mtl.engine.solvers.solution import Status


def non_finite(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses, weights and gradient norms that were not finite, by task."""
    sources = {"loss": statistics.losses, "weight": statistics.weights, "gradient norm": statistics.norms}
    found = [(what, task, figures) for what, tally in sources.items() for task, figures in tally.figures().items()]
    for what, task, figures in sorted(found, key=lambda entry: -_nonfinite_share(entry[2])):
        if figures.nonfinite_steps:
            seen = figures.count + figures.nonfinite
            yield Finding(
                kind="non_finite",
                severity=_graded(figures.nonfinite / seen, 0.0, thresholds.skipped_error_share),
                title=f"the {what} of {task} was not finite in {figures.nonfinite} of {seen} records",
                tasks=(task,),
                figures={"figure": what, "non_finite": figures.nonfinite, "records": seen},
                threshold=thresholds.pick("skipped_error_share"),
                steps=figures.nonfinite_steps,
                advice="look at the data of these steps, lower the learning rate, or train without float16",
            )


def skipped(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Steps at which nothing was applied."""
    count = statistics.skipped.total()
    if not count:
        return
    share = count / statistics.records
    reason, most = statistics.skipped.most_common(1)[0]
    yield Finding(
        kind="skipped",
        severity=_graded(share, thresholds.skipped_share, thresholds.skipped_error_share),
        title=f"{count} of {statistics.records} steps were skipped ({percent(share)}); reason of {most}: {reason}",
        tasks=(),
        figures={"skipped": count, "records": statistics.records, "reasons": dict(statistics.skipped)},
        threshold=thresholds.pick("skipped_share", "skipped_error_share"),
        steps=statistics.skipped.steps(),
        advice="a few at the start of float16 training are its loss scale settling; any others point at the task named",
    )


def inactive(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks without any gradient on the shared parameters: nearly always ("dead"), or now and then ("inactive")."""
    left_out = {task: statistics.inactive[task] / statistics.records for task in statistics.tasks}
    silent = {task: statistics.silent[task] / max(statistics.measured, 1) for task in statistics.tasks}
    for task in sorted(statistics.tasks, key=lambda task: -max(left_out[task], silent[task])):
        share = max(left_out[task], silent[task])
        if statistics.records < thresholds.min_records or share < thresholds.inactive_share:
            continue
        is_dead = share >= thresholds.dead_share
        reason = statistics.reasons.get(task, "its gradient norm is 0")
        yield Finding(
            kind="dead" if is_dead else "inactive",
            severity=Severity.ERROR if is_dead else Severity.NOTE,
            title=f"{task} had no part in {percent(share)} of the steps: {reason}",
            tasks=(task,),
            figures={"share": share, "left_out": statistics.inactive[task], "records": statistics.records},
            threshold=thresholds.pick("dead_share" if is_dead else "inactive_share"),
            steps=(statistics.inactive if task in statistics.inactive else statistics.silent).steps(task),
            advice="check its loss, its labels, and that its output depends on the shared parameters"
            if is_dead
            else "expected where not every batch has labels for it; otherwise check its loss",
        )


def solver(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Solves that failed or stopped early, and training at a Pareto-stationary point."""
    solves = statistics.statuses.total()
    judged = (
        (Status.FALLBACK, "solver", 0.0, "solver_failed_share"),
        (Status.INACCURATE, "solver", thresholds.solver_inaccurate_share, "solver_inaccurate_share"),
        (Status.STATIONARY, "stationary", thresholds.persistent_share, "persistent_share"),
    )
    for status, kind, least, name in judged:
        count = statistics.statuses[status]
        if not count or count < least * solves:
            continue
        grave = status is Status.FALLBACK and count >= thresholds.solver_failed_share * solves
        yield Finding(
            kind=kind,
            severity=Severity.WARNING if grave else Severity.NOTE,
            title=f"{count} of {solves} solves ended {status} ({percent(count / solves)})",
            tasks=(),
            figures={"status": str(status), "count": count, "solves": solves},
            threshold=thresholds.pick(name),
            steps=statistics.statuses.steps(status),
            advice=status.advice,
        )


def _nonfinite_share(figures: Figures) -> float:
    return figures.nonfinite / (figures.count + figures.nonfinite)


def _graded(share: float, warning: float, error: float) -> Severity:
    if share >= error:
        return Severity.ERROR
    return Severity.WARNING if share >= warning else Severity.NOTE
