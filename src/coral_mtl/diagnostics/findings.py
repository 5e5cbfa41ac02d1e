"""All findings on one run, heaviest first."""

from coral_mtl.diagnostics import balance, health
from coral_mtl.diagnostics.finding import KINDS, Finding
from coral_mtl.diagnostics.statistics import Statistics
from coral_mtl.diagnostics.thresholds import Thresholds

_FINDERS = (
    health.divergence,
    health.non_finite,
    health.skipped,
    health.inactive,
    health.solver,
    health.frozen,
    balance.hurt,
    balance.imbalance,
    balance.conflict,
    balance.domination,
)


def find(statistics: Statistics, thresholds: Thresholds) -> list[Finding]:
    """Return what is to be said about a run: the most severe first, and among equals in the order of `KINDS`."""
    findings = [finding for finder in _FINDERS for finding in finder(statistics, thresholds)]
    return sorted(findings, key=lambda finding: (-finding.severity, KINDS.index(finding.kind)))
