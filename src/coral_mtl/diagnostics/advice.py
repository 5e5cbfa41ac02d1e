"""From findings to one sentence: the four-step workflow for choosing a strategy.

1. Start with Uncertainty. 2. Norms persistently orders of magnitude apart: NashMTL or IMGrad. 3. Many cosines below
-0.3 to -0.5: PCGrad, over Uncertainty if you like. 4. Both: NashMTL. The sentence knows three things more: a run that
is not sound is mended first; a strategy that looks at gradients, hurts no task and leaves no imbalance in its direction
is kept; and PCGrad is sure never to push a task back with two tasks only, where others are with any number.

What it says of the present strategy follows from what the strategy's class declares; of one that is not registered it
says nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coral_mtl.diagnostics.finding import Finding, Severity, listed, percent, ratio_of, two_digits
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.strategies import BASELINE, UNHARMING, character
from coral_mtl.diagnostics.tally import Tally
from coral_mtl.diagnostics.thresholds import Thresholds


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
            f"1. Is the baseline, {BASELINE}, in use?",
            BASELINE in statistics.strategy.split("+"),
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
        return _no_reason(statistics) + _elsewhere(findings)
    because = "; ".join(finding.title.partition(" (")[0] for finding in reasons[:3])
    return _kept(statistics, findings, because) or f"{_changed(statistics, findings)}, because {because}."


def _kept(statistics: Statistics, findings: Sequence[Finding], because: str) -> str | None:
    """The sentence where the present strategy is right for what was found, else None."""
    strategy, nature = statistics.strategy, character(statistics.strategy)
    if nature is None:
        return None
    promises, hurting = nature.promises, _of(findings, "hurt")
    if promises.non_conflicting and hurting:
        return (
            f"Lower the update_frequency of {strategy}, and leave options alone that its promise to hurt no task"
            f" depends on, because {because}."
        )
    treated = statistics.descent.figures() and not hurting and not _dominated(statistics, findings)
    if nature.looks_at_gradients and treated:
        return f"Keep {strategy}: its steps hurt no task, although {because}."
    if promises.non_conflicting and promises.scale == "per_task":
        return f"Keep {strategy}, which is made for runs like this: {because}."
    return None


def _dominated(statistics: Statistics, findings: Sequence[Finding]) -> bool:
    """Whether the weights leave an imbalance: the longest gradient still has that much more part in the direction."""
    parts = statistics.direction_share.figures()
    return any(
        parts[f.figures["largest"]].mean >= f.threshold["imbalance_ratio"] * parts[f.figures["smallest"]].mean
        for f in _of(findings, "imbalance")
        if {f.figures["largest"], f.figures["smallest"]} <= parts.keys()
    )


def _changed(statistics: Statistics, findings: Sequence[Finding]) -> str:
    """The proposal of the workflow."""
    imbalanced, conflicting = _of(findings, "imbalance"), _of(findings, "conflict")
    if imbalanced:
        return "Take NashMTL (or compare it with IMGrad)" if conflicting else "Try NashMTL or IMGrad"
    nature = character(statistics.strategy)
    if not conflicting or (nature is not None and nature.is_gradient_strategy):
        return f"Take a strategy that never pushes a task back ({listed(UNHARMING)})"
    if len(statistics.tasks) == 2:
        return f"Put PCGrad on top of {BASELINE}, which for two tasks never pushes one back"
    return f"Put PCGrad on top of {BASELINE}, or take NashMTL, which unlike PCGrad never pushes one of many tasks back"


def _no_reason(statistics: Statistics) -> str:
    strategy, nature = statistics.strategy, character(statistics.strategy)
    calm = "norms are of one order and no pair of tasks is in conflict"
    if nature is None:
        return f"Nothing calls for another strategy: {calm}"
    if nature.looks_at_gradients or BASELINE in strategy.split("+"):
        return f"Stay with {strategy}: {calm}"
    return f"No gradient strategy is called for, as {calm}: compare {strategy} with {BASELINE}, the baseline"


def _elsewhere(findings: Sequence[Finding]) -> str:
    """The end of a sentence that leaves the strategy alone: the first thing that calls for action all the same."""
    others = [finding for finding in findings if finding.severity > Severity.NOTE]
    return f"; what to mend is elsewhere: {others[0].title}." if others else "."


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
        f" {thresholds.strong_conflict:g} in {percent(worst.share(2))} of {worst.count} records; smoothed, below"
        f" {thresholds.smoothed_conflict:g} in {percent(statistics.smoothed.figures()[pair].share(-1))}"
    )


def _answer(findings: Sequence[Finding], kind: str, measured: Tally, thresholds: Thresholds) -> bool | None:
    """Whether there are findings of a kind; None where too few records have the figures that it is judged by."""
    records = max((figures.count for figures in measured.figures().values()), default=0)
    return bool(_of(findings, kind)) if records >= thresholds.min_records else None


def _of(findings: Sequence[Finding], kind: str) -> list[Finding]:
    """The findings of a kind that call for action."""
    return [finding for finding in findings if finding.kind == kind and finding.severity > Severity.NOTE]
