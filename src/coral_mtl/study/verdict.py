"""Which strategy won, in words: "no clear winner" where that is the truth.

The rule: the strategy with the best mean is the clear winner if each of the others is behind it by a difference whose
test (statistics.Panel) has p < 0.05, over three seeds or more, and none of its own runs diverged. No correction for the
number of strategies is due: whoever leads by chance must have beaten its nearest rival by chance, and more rivals make
that rarer. Statements about many strategies against the one baseline are corrected (Holm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from coral_mtl.diagnostics.finding import listed
from coral_mtl.study.statistics import FEWEST_SEEDS, LEVEL, Difference, Panel

Kind = Literal["clear winner", "no clear winner", "too few seeds", "not comparable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to; `leader` has the best mean, and is the winner where the kind says so."""

    kind: Kind
    leader: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """The strategies to judge: names, their figures in the same order, and how many runs of each diverged.

    sign: 1 where larger figures are better, -1 where smaller ones are.
    """

    labels: Sequence[str]
    panel: Panel
    diverged: Sequence[int]
    sign: float = 1.0

    def ranking(self) -> list[int]:
        """The strategies, best mean first."""
        return np.argsort(-self.sign * self.panel.figures.mean(axis=1), kind="stable").tolist()


def judge(field: Field, differences: Sequence[str] = ()) -> Verdict:
    """Return the verdict; `differences` are the reasons why the runs are no fair comparison."""
    first, seeds = field.ranking()[0], field.panel.seeds
    leader = field.labels[first]
    if differences:
        return Verdict(
            "not comparable",
            leader,
            f"Not comparable, for the reasons above: no strategy can be called better. {leader} has the best mean.",
        )
    if seeds < FEWEST_SEEDS:
        return Verdict(
            "too few seeds",
            leader,
            f"Too few seeds: {leader} has the best mean, but {seeds} a strategy cannot tell a difference from chance. "
            f"Run {FEWEST_SEEDS} or more, better {FEWEST_SEEDS + 2}.",
        )
    if field.diverged[first]:
        text = f"No clear winner: {leader} has the best mean, but {field.diverged[first]} of its {seeds} runs diverged."
        return Verdict("no clear winner", leader, text)
    return _judged_by_leads(field)


def _judged_by_leads(field: Field) -> Verdict:
    first, *others = field.ranking()
    leader, closest = field.labels[first], others[0]
    smallest = field.panel.difference(first, closest)
    lead = f"{field.labels[closest]}: {told(smallest)}"
    unbeaten = [field.labels[k] for k in others if field.panel.p(first, k) >= LEVEL]
    if not unbeaten:
        text = f"Clear winner: {leader}, over {field.panel.seeds} seeds; the next is {lead}."
        return Verdict("clear winner", leader, text)
    text = f"No clear winner: {leader} leads, but chance alone could put it ahead of {listed(unbeaten)} ({lead})."
    if smallest.detectable:
        text += f" A difference of {smallest.detectable:.2g} would have shown with a probability of 0.8."
    return Verdict("no clear winner", leader, text)


def against_baseline(
    differences: Mapping[str, Difference], adjusted: Mapping[str, float], baseline: str, sign: float = 1.0
) -> str:
    """Return a sentence on who is better or worse than the baseline, by differences to it and adjusted p-values."""
    gains = {label: sign * d.mean for label, d in differences.items() if adjusted[label] < LEVEL}
    better, worse = [k for k, gain in gains.items() if gain > 0.0], [k for k, gain in gains.items() if gain < 0.0]
    parts = [f"better than {baseline}: {listed(better)}"] if better else []
    parts += [f"worse than {baseline}: {listed(worse)}"] if worse else []
    sentence = "; ".join(parts) or f"none can be told from {baseline}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def told(difference: Difference) -> str:
    """Return a difference with its interval, such as `+0.012 [0.004, 0.020], p = 0.011`."""
    text = f"{difference.mean:+.3g}"
    if difference.interval is None:
        return text
    low, high = difference.interval
    return f"{text} [{low:.3g}, {high:.3g}], p = {difference.p:.2g}"
