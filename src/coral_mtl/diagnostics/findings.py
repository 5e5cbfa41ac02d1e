"""All findings on one run, heaviest first."""

from coral_mtl.diagnostics import balance, decisions, health, learning, rate
from coral_mtl.diagnostics.finding import KINDS, Finding
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.thresholds import Thresholds

_FINDERS = (
    learning.divergence,
    learning.flat,
    learning.plateau,
    learning.overfitting,
    rate.spikes,
    rate.clipped,
    rate.unfinished,
    health.non_finite,
    health.skipped,
    health.inactive,
    health.solver,
    decisions.frozen,
    decisions.stale,
    balance.hurt,
    balance.imbalance,
    balance.conflict,
    balance.domination,
    balance.cos_theta,
)
"""Each yields its findings in order of weight."""


def find(statistics: Statistics, thresholds: Thresholds) -> list[Finding]:
    """Return what is to be said about a run: the most severe first, and among equals in the order of `KINDS`."""
    findings = [finding for finder in _FINDERS for finding in finder(statistics, thresholds)]
    return sorted(findings, key=lambda finding: (-finding.severity, KINDS.index(finding.kind)))
