"""The one table of thresholds that findings are judged by."""

from dataclasses import dataclass, field, fields
from typing import TypeVar

Value = TypeVar("Value", int, float)


def _threshold(default: Value, unit: str, meaning: str) -> Value:
    return field(default=default, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a figure becomes a finding; a share is the part of the records in which the figure was measured."""

    min_records: int = _threshold(20, "records", "averages and shares of fewer records than this are not judged")
    persistent_share: float = _threshold(0.5, "share", "imbalance, domination and stationarity persist from here on")
    imbalance_ratio: float = _threshold(10.0, "ratio", "gradient norms this far apart are imbalanced")
    any_conflict: float = _threshold(0.0, "cosine", "below: the two gradients oppose each other at all")
    clear_conflict: float = _threshold(-0.3, "cosine", "below: they oppose each other clearly")
    strong_conflict: float = _threshold(-0.5, "cosine", "below: they oppose each other strongly")
    conflict_mean: float = _threshold(-0.2, "cosine", "mean that a pair in any or clear conflict must not exceed")
    any_conflict_share: float = _threshold(0.9, "share", "a pair in any conflict this often is noted")
    clear_conflict_share: float = _threshold(0.3, "share", "a pair in clear conflict this often is a warning")
    strong_conflict_share: float = _threshold(0.3, "share", "so is one in strong conflict this often at any mean")
    domination_share: float = _threshold(0.9, "share", "a task with this part of the direction or weights dominates")
    hurt_share: float = _threshold(0.6, "share", "a task with <g, d> < 0 this often is hurt, if hurt_cosine holds too")
    hurt_cosine: float = _threshold(-0.1, "cosine", "mean cosine of g and d that a hurt task does not exceed")
    hurt_always_share: float = _threshold(0.9, "share", "a task with <g, d> < 0 this often is hurt at any cosine")
    hurt_rounding: float = _threshold(
        1e-6, "cosine", "cosines of g and d this close to 0 are 0: rounding hurts no task"
    )
    frozen_change: float = _threshold(1e-6, "relative", "weights that vary by no more than this never moved")
    dead_share: float = _threshold(0.9, "share", "a task without any gradient this often is dead")
    inactive_share: float = _threshold(0.05, "share", "a task left out this often is noted")
    skipped_share: float = _threshold(0.01, "share", "steps skipped this often are a warning, fewer a note")
    skipped_error_share: float = _threshold(0.1, "share", "steps skipped this often are an error")
    solver_failed_share: float = _threshold(0.01, "share", "solves failed this often are a warning, fewer a note")
    solver_inaccurate_share: float = _threshold(0.1, "share", "solves stopped early this often are noted")
    divergence_ratio: float = _threshold(3.0, "ratio", "a loss that ends at this many times its best diverged, if")
    divergence_noise: float = _threshold(6.0, "deviations", "the rise is this many standard errors, and")
    divergence_progress: float = _threshold(0.1, "share", "it undoes this part of the way from the start to the best")

    def pick(self, *names: str) -> dict[str, float]:
        """Return the named thresholds as a dict, for a finding to show."""
        return {name: getattr(self, name) for name in names}

    def table(self) -> list[tuple[str, str, str, str]]:
        """Return (name, value, unit, meaning) of every threshold, in order."""
        return [(f.name, str(getattr(self, f.name)), f.metadata["unit"], f.metadata["meaning"]) for f in fields(self)]


DEFAULT = Thresholds()
