"""Findings about the losses themselves: diverged, never fallen, on a plateau, better in training than in validation."""

import math
from collections.abc import Iterator

import numpy as np

from coral_mtl.diagnostics.finding import Finding, Severity, exponential, listed, lost, percent
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.tally import Trend, root_mean_square
from coral_mtl.diagnostics.thresholds import Thresholds

_LEAST_BLOCKS = 8
"""Of a trend: one with fewer is too short to have a first quarter and a last half."""

_NORMAL = 0.6745
"""Median of |z| of a standard normal z."""


def judged(statistics: Statistics, thresholds: Thresholds) -> dict[str, Trend]:
    """Return the trend of the logarithm of every loss that is always positive and was recorded often enough."""
    losses = statistics.losses.figures()
    return {
        task: trend
        for task, trend in statistics.course.log_trends.items()
        if losses[task].low > 0.0
        and losses[task].count >= thresholds.min_records
        and len(trend.means()) >= _LEAST_BLOCKS
    }


def divergence(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses that end far above their best: by ratio, beyond their noise, and undoing real progress.

    With m_1 .. m_k the means of log L over the blocks of a Trend, b the lowest of them, and e their standard error:
    m_k - b >= log(ratio), m_k - b >= noise e, and exp(m_k) - exp(b) >= progress (exp(m_1) - exp(b)).
    """
    found = []
    for task, trend in judged(statistics, thresholds).items():
        means = trend.means()
        start, best, end = np.exp([means[0], means.min(), means[-1]]).tolist()
        enough = max(math.log(thresholds.divergence_ratio), thresholds.divergence_noise * trend.standard_error())
        if means[-1] - means.min() >= enough and end - best >= thresholds.divergence_progress * (start - best):
            found.append((task, start, best, end))
    for task, start, best, end in sorted(found, key=lambda entry: -entry[3] / entry[2]):
        yield Finding(
            kind="divergence",
            severity=Severity.ERROR,
            title=f"the loss of {task} ends at {end:.3g}, which is {end / best:.3g} times its best of {best:.3g}",
            tasks=(task,),
            figures={"start": start, "best": best, "end": end, "records": statistics.losses.figures()[task].count},
            threshold=thresholds.pick("divergence_ratio", "divergence_noise", "divergence_progress"),
            steps=statistics.span,
            advice="lower the learning rate, lengthen the warm-up, or clip with trainer.max_grad_norm",
        )


def flat(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Losses that surely never fell, neither in the first steps nor later.

    With m_k as for `divergence`: the mean of the first quarter of them is above that of the last half, and above the
    lowest of them, by less than the bound with standard errors added; and the very first losses are not surely above
    the last half. While the learning rate is still warming up nothing is judged.
    """
    trends = {} if _warming_up(statistics) else judged(statistics, thresholds)
    falls = {
        task: lost(_largest_fall(trend, statistics.course.heads[task], thresholds.certainty))
        for task, trend in trends.items()
    }
    still = {task: fall for task, fall in falls.items() if fall < thresholds.flat_fall}
    for task, most in sorted(still.items(), key=lambda entry: entry[1]):
        start, *_, end = np.exp(trends[task].means()).tolist()
        yield Finding(
            kind="flat",
            severity=Severity.ERROR if len(still) == len(trends) else Severity.WARNING,
            title=f"the loss of {task} never fell: {start:.3g} at first, {end:.3g} at last",
            tasks=(task,),
            figures={"start": start, "end": end, "fell_at_most": most},
            threshold=thresholds.pick("flat_fall", "certainty"),
            steps=statistics.span,
            advice="raise the learning rate (or lower it tenfold, if the loss is noisy), and check labels and the loss;"
            " expected only where a trained model is trained on",
        )


def plateau(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks whose loss fell before, and surely did no more in the last half of the run.

    Judged on validation losses where there are enough, else on the training losses: on a straight line through the
    logarithms of the last half.
    """
    found: dict[str, float] = {}
    by: dict[str, str] = {}
    for task, trend in judged(statistics, thresholds).items():
        validations = statistics.course.validation(task).means
        validated = len(validations) >= thresholds.min_validations
        values = validations if validated else trend.means()
        half = len(values) // 2
        error = _noise(values) if validated else root_mean_square(trend.errors()[half:])
        change = _largest_change(values[half:], error, thresholds.certainty)
        fell_before = values[: len(values) // 4].mean() - values[half:].mean()
        if change < thresholds.plateau_fall and lost(fell_before) >= 2.0 * thresholds.plateau_fall:
            found[task] = change
            by[task] = "validation" if validated else "training"
    if found:
        yield Finding(
            kind="plateau",
            severity=Severity.NOTE,
            title=f"{listed(tuple(found))} stopped improving: in the last half of the run the"
            f" {listed(sorted(set(by.values())))} loss changed by no more than {percent(max(found.values()))}",
            tasks=tuple(found),
            figures={"changed_at_most": found, "by": by},
            threshold=thresholds.pick("plateau_fall", "certainty", "memorising_fall"),
            steps=(sum(statistics.span) // 2, statistics.last_step),
            advice=_way_off(statistics, by, thresholds),
        )


def overfitting(statistics: Statistics, thresholds: Thresholds) -> Iterator[Finding]:
    """Tasks whose validation loss rose from its best, while their training loss went on falling.

    On logarithms: v_i the validation loss, averaged with its two neighbours, b the place of the lowest, and e the error
    of such an average: the mean of the last three is above v_b by log(ratio) and by noise e; and the training loss,
    averaged between validations, is lower at the end than around b.
    """
    found = []
    for task in statistics.course.log_trends:
        curve = statistics.course.validation(task)
        if len(curve.means) < thresholds.min_validations:
            continue
        training = statistics.course.training_before(task, curve.buckets * curve.length)
        best = int(np.argmin(_smoothed(curve.means)))
        rise = float(curve.means[-3:].mean() - _smoothed(curve.means)[best])
        fall = float(_smoothed(training)[best] - training[-3:].mean())
        error = _noise(curve.means) / math.sqrt(3.0)
        enough = max(math.log(thresholds.overfitting_ratio), thresholds.overfitting_noise * error)
        if rise >= enough and lost(fall) >= thresholds.overfitting_fall:
            found.append((task, rise, fall, int(curve.buckets[best]) * curve.length, len(curve.means)))
    for task, rise, fall, step, count in sorted(found, key=lambda entry: -entry[1]):
        yield Finding(
            kind="overfitting",
            severity=Severity.WARNING,
            title=f"the validation loss of {task} ends at {exponential(rise):.3g} times its best, of about step {step},"
            f" while its training loss fell by {percent(lost(fall))}",
            tasks=(task,),
            figures={
                "rise": exponential(rise),
                "training_fell": lost(fall),
                "best": step,
                "validations": count,
            },
            threshold=thresholds.pick("overfitting_ratio", "overfitting_noise", "overfitting_fall"),
            steps=(step, statistics.last_step),
            advice="stop there (trainer.early_stopping), regularise, get more data, or give this task less weight",
        )


def _way_off(statistics: Statistics, plateaus: dict[str, str], thresholds: Thresholds) -> str:
    """What to do about tasks on a plateau, given by which loss each was judged."""
    course = statistics.course
    for task in (task for task, by in plateaus.items() if by == "validation"):
        steps = course.validation(task).buckets * course.validation(task).length
        training = course.training_before(task, steps)
        fall = float(training[len(steps) // 2] - training[-3:].mean())
        if lost(fall) >= thresholds.memorising_fall:
            return f"regularise or get more data, as the training loss of {task} still falls; or train shorter"
    if course.last_rate < 0.5 * course.rate.means().max(initial=0.0):
        return "train shorter, restart the learning rate, or enlarge the model"
    return "let the learning rate decay, or train shorter"


def _warming_up(statistics: Statistics) -> bool:
    """Whether the learning rate has only risen so far."""
    rates = statistics.course.rate.means()
    return len(rates) > 1 and bool((np.diff(rates) > 0.0).all())


def _largest_fall(trend: Trend, head: list[float], certainty: float) -> float:
    """How far a loss can have fallen at most, in the logarithm."""
    means, error = trend.means(), trend.standard_error()
    quarter, half = len(means) // 4, len(means) // 2
    start, later = means[:quarter].mean(), means[half:].mean()
    return max(
        float(start - later) + certainty * error * math.sqrt(1.0 / quarter + 1.0 / (len(means) - half)),
        float(start - means.min()) + certainty * error,
        float(np.mean(head) - later) - certainty * trend.deviation() / math.sqrt(len(head)),
    )


def line(values: np.ndarray, error: float) -> tuple[float, float]:
    """Return the slope per place of a straight line through the values, and its standard error.

    The error of a value is the given one, or the scatter about the line where that is larger.
    """
    places = np.arange(len(values)) - 0.5 * (len(values) - 1)
    slope = float(places @ values / (places @ places))
    rest = values - values.mean() - slope * places
    return slope, max(error, math.sqrt(rest @ rest / (len(values) - 2))) / math.sqrt(places @ places)


def _largest_change(values: np.ndarray, error: float, certainty: float) -> float:
    """How much a straight line through the values can rise or fall at most, as a share."""
    slope, uncertain = line(values, error)
    return exponential((len(values) - 1) * (abs(slope) + certainty * uncertain)) - 1.0


def _noise(values: np.ndarray) -> float:
    """Standard deviation of the noise on a smooth curve: its second differences have six times the variance."""
    return float(np.median(np.abs(np.diff(values, 2)))) / (_NORMAL * math.sqrt(6.0))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Each value averaged with its neighbours, of which the first and the last have one."""
    sums, counts = (np.convolve(x, np.ones(3), "same") for x in (values, np.ones(len(values))))
    return sums / counts
