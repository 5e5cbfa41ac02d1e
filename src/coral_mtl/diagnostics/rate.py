"""Findings that point at the learning rate: losses that shoot up, clipping at most steps, falling to the very end."""

from collections.abc import Iterator

import numpy as np

from coral_mtl.diagnostics.finding import Finding, Severity, exponential, lost, percent
from coral_mtl.diagnostics.learning import judged, line
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.tally import root_mean_square
from coral_mtl.diagnostics.thresholds import Thresholds


def spikes(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses that shot up several times, warm-up and restarts aside (see `Spikes`)."""
    found = statistics.course.spikes
    for task, count in sorted(found.counts.items(), key=lambda entry: -entry[1]):
        highest = exponential(found.heights[task])
        if count >= thresholds.spike_count:
            yield Finding(
                kind="spikes",
                severity=Severity.WARNING,
                title=f"the loss of {task} shot up {count} times, to {highest:.3g} times its level",
                tasks=(task,),
                figures={"spikes": count, "highest": highest},
                threshold=thresholds.pick("spike_ratio", "spike_noise", "spike_count"),
                steps=found.steps[task],
                advice="lower the learning rate, lengthen the warm-up, or clip with trainer.max_grad_norm",
            )


def clipped(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Gradients that clipping shortens at most steps: their length, and the strategy's, then decides nothing."""
    factor = statistics.clipping.figures().get("factor")
    if factor is None or factor.count < thresholds.min_records or factor.share() < thresholds.clipped_share:
        return
    left = 10.0**factor.mean
    yield Finding(
        kind="clipped",
        severity=Severity.WARNING if left <= thresholds.clipped_factor else Severity.NOTE,
        title=f"clipping shortened the gradient in {percent(factor.share())} of {factor.count} records, to"
        f" {percent(left)} of its length on average",
        tasks=(),
        figures={"share": factor.share(), "factor": left, "records": factor.count},
        threshold=thresholds.pick("clipped_share", "clipped_factor"),
        steps=factor.span(statistics.span),
        advice="steps have one length whatever the strategy decides: raise trainer.max_grad_norm, and lower the"
        " learning rate if the loss then shoots up",
    )


def unfinished(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses that still fall steeply at the end, where the learning rate has come close to zero.

    A straight line through log L over the last quarter of the run, less its errors, says what the loss would lose in as
    many steps again. A rate that rises again after its peak is not judged: losses fall steeply to the end of a cycle.
    """
    rates, last = statistics.course.rate.means(), statistics.course.last_rate
    peak = float(rates.max(initial=0.0))
    if peak == 0.0 or last > thresholds.low_rate * peak or _rises_again(rates):
        return
    found = {}
    for task, trend in judged(statistics, thresholds).items():
        means, quarter = trend.means(), -max(len(trend.means()) // 4, 3)
        slope, error = line(means[quarter:], root_mean_square(trend.errors()[quarter:]))
        loss = lost(-(slope + thresholds.certainty * error) * (len(means) - 1))
        mean = float(means[0] - means[-1]) / (len(means) - 1)
        if loss >= thresholds.unfinished_fall and -slope >= thresholds.unfinished_pace * mean:
            found[task] = loss
    for task, loss in sorted(found.items(), key=lambda entry: -entry[1]):
        yield Finding(
            kind="unfinished",
            severity=Severity.NOTE,
            title=f"the loss of {task} still falls at the end, by {percent(loss)} if it went on for as many steps"
            f" again, but the learning rate is at {percent(last / peak)} of its peak",
            tasks=(task,),
            figures={"would_fall": loss, "rate": last, "peak": peak},
            threshold=thresholds.pick("low_rate", "unfinished_fall", "unfinished_pace"),
            steps=statistics.span,
            advice="train longer, or let the learning rate decay later or not to zero",
        )


def _rises_again(rates: np.ndarray) -> bool:
    """Whether the learning rate rose after it had fallen."""
    steps = np.diff(rates)
    falls = np.flatnonzero(steps < 0.0)
    return bool(falls.size) and bool((steps[falls[0] :] > 0.0).any())
