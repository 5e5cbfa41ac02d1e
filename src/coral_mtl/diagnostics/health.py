"""Findings about the run itself: whether its figures, its tasks, its solver and its weights are sound."""

from collections.abc import Iterator

import numpy as np

from coral_mtl.diagnostics.finding import Finding, Severity, listed, percent
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strategies import character
from coral_mtl.diagnostics.thresholds import Thresholds
from coral_mtl.engine.solvers.solution import Status


def divergence(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses that end far above their best: by ratio, beyond their noise, and undoing real progress.

    Judged in the logarithm, where a single outlier does not weigh much. With m_1 .. m_k the means of log L over the
    blocks of a Trend, b the lowest of them, and e their standard error: m_k - b >= log(ratio), m_k - b >= noise e, and
    exp(m_k) - exp(b) >= progress (exp(m_1) - exp(b)). A loss that is not always positive is not judged.
    """
    for task, losses in statistics.losses.figures().items():
        if losses.count < thresholds.min_records or losses.low <= 0.0:
            continue
        trend = statistics.log_trends[task]
        means, error = trend.means(), trend.standard_error()
        start, best, end = np.exp([means[0], means.min(), means[-1]]).tolist()
        rise = means[-1] - means.min()
        if end < thresholds.divergence_ratio * best or rise < thresholds.divergence_noise * error:
            continue
        if end - best >= thresholds.divergence_progress * (start - best):
            yield Finding(
                kind="divergence",
                severity=Severity.ERROR,
                title=f"the loss of {task} ends at {end:.3g}, which is {end / best:.3g} times its best of {best:.3g}",
                tasks=(task,),
                figures={"start": start, "best": best, "end": end, "records": losses.count},
                threshold=thresholds.pick("divergence_ratio", "divergence_noise", "divergence_progress"),
                steps=_all_steps(statistics),
                advice="lower the learning rate, lengthen the warm-up, or clip with trainer.max_grad_norm",
            )


def non_finite(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses, weights and gradient norms that were not finite, by task."""
    sources = {"loss": statistics.losses, "weight": statistics.weights, "gradient norm": statistics.norms}
    for what, tally in sources.items():
        for task, figures in tally.figures().items():
            seen = figures.count + figures.nonfinite
            if figures.nonfinite:
                yield Finding(
                    kind="non_finite",
                    severity=_graded(figures.nonfinite / seen, 0.0, thresholds.skipped_error_share),
                    title=f"the {what} of {task} was not finite in {figures.nonfinite} of {seen} records",
                    tasks=(task,),
                    figures={"figure": what, "non_finite": figures.nonfinite, "records": seen},
                    threshold=thresholds.pick("skipped_error_share"),
                    steps=_all_steps(statistics),
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
        steps=_all_steps(statistics),
        advice="a few at the start of float16 training are its loss scale settling; any others point at the task named",
    )


def inactive(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks without any gradient on the shared parameters: nearly always ("dead"), or now and then ("inactive")."""
    for task in statistics.tasks:
        left_out = statistics.inactive[task] / statistics.records
        share = max(left_out, statistics.silent[task] / max(statistics.measured, 1))
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
            steps=_all_steps(statistics),
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
            steps=_all_steps(statistics),
            advice=status.advice,
        )


def frozen(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Weights, other than 0, that never moved under a strategy that is to move them."""
    nature = character(statistics.strategy)
    if not nature.moves and not nature.projects:
        return
    weights = {t: w for t, w in statistics.weights.figures().items() if w.count >= thresholds.min_records}
    still = tuple(
        task
        for task, weight in weights.items()
        if weight.high - weight.low <= thresholds.frozen_change * max(abs(weight.high), abs(weight.low))
        and weight.mean != 0.0
        and not _rightly_constant(statistics, task)
    )
    if still and len(weights) > 1:
        yield Finding(
            kind="frozen",
            severity=Severity.ERROR if len(still) == len(weights) else Severity.WARNING,
            title=f"under {statistics.strategy}, which is to move it, the weight of {listed(still)} never moved",
            tasks=still,
            figures={"weights": {task: weights[task].mean for task in still}, "records": weights[still[0]].count},
            threshold=thresholds.pick("frozen_change"),
            steps=_all_steps(statistics),
            advice="check that the strategy is called at every step, and that the optimiser has what it learns",
        )


def _rightly_constant(statistics: Statistics, task: str) -> bool:
    """Whether there was nothing to decide: a projection without conflict, a single task in charge, too few epochs."""
    weights = statistics.weights.figures()
    opposed = {name for pair, cosine in statistics.cosines.figures().items() if cosine.hits[0] for name in pair}
    return (
        (not character(statistics.strategy).moves and statistics.measured > 0 and task not in opposed)
        or (statistics.strategy == "MGDA" and not any(weights[other].high for other in weights if other != task))
        or (statistics.strategy == "DWA" and statistics.epochs <= 2)
    )


def _graded(share: float, warning: float, error: float) -> Severity:
    if share >= error:
        return Severity.ERROR
    return Severity.WARNING if share >= warning else Severity.NOTE


def _all_steps(statistics: Statistics) -> tuple[int, int]:
    return statistics.first_step, statistics.last_step
