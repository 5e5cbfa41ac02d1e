"""Findings about the tasks' gradients and what the strategy makes of them: imbalance, conflict, domination, harm."""

from collections.abc import Iterator

import numpy as np

from coral_mtl.diagnostics.finding import Finding, Severity, listed, percent, ratio_of, two_digits
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strategies import UNHARMING
from coral_mtl.diagnostics.tally import Figures
from coral_mtl.diagnostics.thresholds import Thresholds


def imbalance(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Gradient norms that are persistently an order of magnitude or more apart.

    Judged on the two tasks that are furthest apart on geometric average: their average ratio, and the share of the
    records in which they are that far apart. Named are the tasks on the smaller side of the widest gap.
    """
    ratios = statistics.log_ratio.figures()
    if not ratios:
        return
    pair, widest = max(ratios.items(), key=lambda item: abs(item[1].mean))
    ratio, share = ratio_of(widest.mean), widest.share()
    if widest.count < thresholds.min_records or ratio < thresholds.imbalance_ratio:
        return
    if share < thresholds.persistent_share:
        return
    large, small = pair if widest.mean > 0.0 else pair[::-1]
    outliers = _outliers(ratios, large)
    yield Finding(
        kind="imbalance",
        severity=Severity.WARNING,
        title=f"the gradient of {large} is {ratio:.3g} times that of {small}"
        f" ({_orders(ratio)}; {thresholds.imbalance_ratio:g} times or more in {percent(share)}"
        f" of {widest.count} records)",
        tasks=outliers,
        figures={"ratio": ratio, "share": share, "records": widest.count, "largest": large, "smallest": small},
        threshold=thresholds.pick("imbalance_ratio", "persistent_share"),
        steps=widest.span(statistics.span),
        advice="take NashMTL, which no scale of a loss can disturb, or IMGrad; or bring the losses to one scale",
    )


def conflict(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Pairs of tasks whose gradients oppose each other: strongly, clearly, or nearly always.

    At each level two shares are to reach the threshold: that of the cosines below the level, and that of their moving
    averages below `smoothed_conflict`, so that the noise of small batches is no conflict.
    """
    names = ("any_conflict", "clear_conflict", "strong_conflict")
    levels = [getattr(thresholds, name) for name in names]
    least = [getattr(thresholds, f"{name}_share") for name in names]
    smoothed = statistics.smoothed.figures()
    for pair, cosine in sorted(statistics.cosines.figures().items(), key=lambda item: item[1].mean):
        reached = [k for k in range(3) if min(cosine.share(k), smoothed[pair].share(-1)) >= least[k]]
        if cosine.count < thresholds.min_records or not reached:
            continue
        level = max(reached)
        shares = {f"share_below_{bound:g}": cosine.share(k) for k, bound in enumerate(levels)}
        shares |= {f"smoothed_share_below_{bound:g}": smoothed[pair].share(k) for k, bound in enumerate(levels)}
        yield Finding(
            kind="conflict",
            severity=Severity.WARNING if level else Severity.NOTE,
            title=f"{listed(pair)} pull against each other (cosine {two_digits(cosine.mean)} on average, below"
            f" {levels[level]:g} in {percent(cosine.share(level))} of {cosine.count} records, smoothed in"
            f" {percent(smoothed[pair].share(level))})",
            tasks=pair,
            figures={"mean": cosine.mean, **shares, "records": cosine.count},
            threshold=thresholds.pick(names[level], f"{names[level]}_share", "smoothed_conflict"),
            steps=cosine.span(statistics.span, level),
            advice="put PCGrad on top of the loss weighting; with three tasks or more only others, such as"
            f" {listed(UNHARMING)}, guarantee that no task is pushed back",
        )


def hurt(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks whose loss the applied direction d raises: <g_t, d> < 0, persistently."""
    alignment = statistics.alignment.figures()
    for task, descent in sorted(statistics.descent.figures().items(), key=lambda item: -item[1].share()):
        share = descent.share()
        cosine = alignment[task].mean if task in alignment else float("nan")
        often = share >= thresholds.hurt_share and cosine <= thresholds.hurt_cosine
        if descent.count < thresholds.min_records or not (often or share >= thresholds.hurt_always_share):
            continue
        yield Finding(
            kind="hurt",
            severity=Severity.WARNING,
            title=f"the steps work against {task} in {percent(share)} of {descent.count} records"
            f" (mean cosine of its gradient and the direction {two_digits(cosine)})",
            tasks=(task,),
            figures={"share": share, "cosine": cosine, "records": descent.count},
            threshold=thresholds.pick("hurt_share", "hurt_cosine", "hurt_always_share"),
            steps=descent.span(statistics.span),
            advice=f"take a strategy that never pushes a task back, such as {listed(UNHARMING)}",
        )


def domination(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks that make up nearly all of the direction, or of the weights where gradients were not measured.

    A large weight on a small gradient is a cure, not an ailment: weights are judged only where the direction cannot be.
    """
    measured = statistics.direction_share.figures()
    what = "direction" if measured else "sum of the weights"
    parts = measured or statistics.weight_share.figures()
    for task, part in sorted(parts.items(), key=lambda item: -item[1].mean):
        if part.count < thresholds.min_records or part.share() < thresholds.persistent_share:
            continue
        yield Finding(
            kind="domination",
            severity=Severity.WARNING if measured else Severity.NOTE,
            title=f"{task} makes up {percent(part.mean)} of the {what} on average"
            f" ({percent(thresholds.domination_share)} or more in {percent(part.share())} of {part.count} records)",
            tasks=(task,),
            figures={"of": what, "mean": part.mean, "share": part.share(), "records": part.count},
            threshold=thresholds.pick("domination_share", "persistent_share"),
            steps=part.span(statistics.span),
            advice="the shared parameters learn this task and little else: weigh it down, or take NashMTL"
            if measured
            else "measure gradients (diagnostics.gradient_every) to see whether this makes up for a small gradient",
        )


def cos_theta(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """The cosine between IMGrad's two directions, the mean gradient and the min-norm point, persistently low."""
    cosine = statistics.cos_theta.figures().get("cos_theta")
    if cosine is None or cosine.count < thresholds.min_records or cosine.share() < thresholds.persistent_share:
        return
    yield Finding(
        kind="cos_theta",
        severity=Severity.NOTE,
        title=f"cos theta of IMGrad is {two_digits(cosine.mean)} on average (below {thresholds.cos_theta:g} in"
        f" {percent(cosine.share())} of {cosine.count} solves): what helps all tasks is far from their mean gradient",
        tasks=(),
        figures={"mean": cosine.mean, "share": cosine.share(), "solves": cosine.count},
        threshold=thresholds.pick("cos_theta", "persistent_share"),
        steps=cosine.span(statistics.span),
        advice="the imbalance or conflict behind it is in the table; if training is slow, compare NashMTL",
    )


def _outliers(ratios: dict[tuple[str, str], Figures], largest: str) -> tuple[str, ...]:
    """The tasks on the smaller side of the widest gap between mean log norms; of equal sides, the one above it."""
    heights = {largest: 0.0}
    for (a, b), ratio in ratios.items():
        if largest in (a, b):
            heights[b if a == largest else a] = -ratio.mean if a == largest else ratio.mean
    order = sorted(heights, key=lambda task: -heights[task])
    gap = int(np.argmin(np.diff([heights[task] for task in order]))) + 1
    return tuple(order[:gap] if gap <= len(order) - gap else order[gap:])


def _orders(ratio: float) -> str:
    orders = int(np.floor(np.log10(ratio) + 0.5))
    return f"about {orders} order{'s' if orders != 1 else ''} of magnitude"
