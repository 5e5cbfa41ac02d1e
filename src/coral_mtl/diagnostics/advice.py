"""From findings to one sentence: the four-step workflow for choosing a strategy.

1. Start with Uncertainty. 2. Norms persistently orders of magnitude apart: NashMTL or IMGrad. 3. Many cosines below
-0.3 to -0.5: PCGrad, over Uncertainty if you like. 4. Both: NashMTL. The sentence knows three things more: a run that
is not sound is mended first; a strategy that looks at gradients and whose steps hurt no task is kept; and PCGrad is
sure never to push a task back with two tasks only, where NashMTL, IMGrad with its guard and MGDA are with any number.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coral_mtl.diagnostics.finding import Finding, Severity, listed, percent, ratio_of, two_digits
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strategies import character
from coral_mtl.diagnostics.tally import Tally
from coral_mtl.diagnostics.thresholds import Thresholds

_HARMLESS = ("NashMTL", "IMGrad", "MGDA")
"""Strategies whose direction has <g_t, d> >= 0 for every task, whenever they solve for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One step of the workflow: the question, its answer (None where it could not be judged), and the evidence."""

    question: str
    answer: bool | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Advice:
    """The workflow with its answers, and the sentence it ends in."""

    workflow: tuple[Answer, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the advice for JSON."""
        return asdict(self)


def advise(statistics: Statistics, findings: Sequence[Finding], thresholds: Thresholds) -> Advice:
    """Apply the workflow to a run and its findings."""
    imbalanced = _answer(findings, "imbalance", statistics.log_ratio, thresholds)
    conflicting = _answer(findings, "conflict", statistics.cosines, thresholds)
    both = None if None in (imbalanced, conflicting) else imbalanced and conflicting
    workflow = (
        Answer(
            "1. Is the baseline, Uncertainty, in use?",
            "Uncertainty" in statistics.strategy.split("+"),
            f"the strategy is {statistics.strategy}",
        ),
        Answer(
            "2. Are gradient norms persistently orders of magnitude apart?",
            imbalanced,
            _imbalance_evidence(statistics, thresholds),
        ),
        Answer(
            "3. Do gradients often oppose each other clearly?",
            conflicting,
            _conflict_evidence(statistics, thresholds),
        ),
        Answer("4. Both?", both, "the two answers before"),
    )
    return Advice(workflow, _sentence(statistics, findings, thresholds))


def _sentence(statistics: Statistics, findings: Sequence[Finding], thresholds: Thresholds) -> str:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        return f"Mend this before you judge the strategy: {errors[0].title}; {errors[0].advice}."
    if len(statistics.tasks) < 2:
        return "There is nothing to balance: the records know of fewer than two tasks."
    if statistics.measured < thresholds.min_records:
        return (
            "Measure gradients first (lower diagnostics.gradient_every, or train longer):"
            f" {statistics.measured} records have them, and a judgement takes {thresholds.min_records}."
        )
    reasons = [*_of(findings, "imbalance"), *_of(findings, "conflict"), *_of(findings, "hurt")]
    if not reasons:
        return _no_reason(statistics)
    because = "; ".join(finding.title.partition(" (")[0] for finding in reasons[:3])
    return _kept(statistics, findings, because) or f"{_changed(statistics, findings)}, because {because}."


def _kept(statistics: Statistics, findings: Sequence[Finding], because: str) -> str | None:
    """The sentence where the present strategy is right for what was found, else None."""
    strategy, hurting = statistics.strategy, _of(findings, "hurt")
    if strategy in _HARMLESS and hurting:
        return f"Lower the update_frequency of {strategy} (and leave the guard of IMGrad on), because {because}."
    nature = character(strategy)
    untreated = nature.projects and _of(findings, "imbalance")
    if nature.looks_at_gradients and statistics.descent.figures() and not hurting and not untreated:
        return f"Keep {strategy}: its steps hurt no task, although {because}."
    return f"Keep NashMTL, which is made for runs like this: {because}." if strategy == "NashMTL" else None


def _changed(statistics: Statistics, findings: Sequence[Finding]) -> str:
    """The proposal of the workflow."""
    imbalanced, conflicting = _of(findings, "imbalance"), _of(findings, "conflict")
    if imbalanced:
        return "Take NashMTL (or compare it with IMGrad)" if conflicting else "Try NashMTL or IMGrad"
    if not conflicting or "PCGrad" in statistics.strategy:
        return "Take a strategy that never pushes a task back (NashMTL, IMGrad or MGDA)"
    if len(statistics.tasks) == 2:
        return "Put PCGrad on top of Uncertainty, which for two tasks never pushes one back"
    return "Put PCGrad on top of Uncertainty, or take NashMTL, which unlike PCGrad never pushes one of many tasks back"


def _no_reason(statistics: Statistics) -> str:
    if character(statistics.strategy).looks_at_gradients or "Uncertainty" in statistics.strategy:
        return f"Stay with {statistics.strategy}: norms are of one order and no pair of tasks is in conflict."
    return (
        f"No gradient strategy is called for, as norms are of one order and no pair of tasks is in conflict:"
        f" compare {statistics.strategy} with Uncertainty, the baseline."
    )


def _imbalance_evidence(statistics: Statistics, thresholds: Thresholds) -> str:
    ratios = statistics.log_ratio.figures()
    if not ratios:
        return "no two gradient norms were measured together"
    (a, b), widest = max(ratios.items(), key=lambda item: abs(item[1].mean))
    return (
        f"{listed((a, b))} are furthest apart: {ratio_of(widest.mean):.3g} times on average (threshold"
        f" {thresholds.imbalance_ratio:g}), that far in {percent(widest.share())} (threshold"
        f" {percent(thresholds.persistent_share)}) of {widest.count} records"
    )


def _conflict_evidence(statistics: Statistics, thresholds: Thresholds) -> str:
    cosines = statistics.cosines.figures()
    if not cosines:
        return "no cosines were measured"
    pair, worst = min(cosines.items(), key=lambda item: item[1].mean)
    return (
        f"{listed(pair)} agree least: cosine {two_digits(worst.mean)} on average, below {thresholds.clear_conflict:g}"
        f" in {percent(worst.share(1))} (threshold {percent(thresholds.clear_conflict_share)}) and below"
        f" {thresholds.strong_conflict:g} in {percent(worst.share(2))} of {worst.count} records"
    )


def _answer(findings: Sequence[Finding], kind: str, measured: Tally, thresholds: Thresholds) -> bool | None:
    """Whether there are findings of a kind; None where too few records have the figures that it is judged by."""
    records = max((figures.count for figures in measured.figures().values()), default=0)
    return bool(_of(findings, kind)) if records >= thresholds.min_records else None


def _of(findings: Sequence[Finding], kind: str) -> list[Finding]:
    """The findings of a kind that call for action."""
    return [finding for finding in findings if finding.kind == kind and finding.severity > Severity.NOTE]
