"""The one table of thresholds that findings are judged by."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from coral_mtl.errors import ConfigError
from coral_mtl.registry import UnknownNameError

Value = TypeVar("Value", int, float)

_RANGES = {
    "records": (1, math.inf),
    "episodes": (1, math.inf),
    "validations": (5, math.inf),
    "share": (0.0, 1.0),
    "cosine": (-1.0, 1.0),
    "ratio": (1.0, math.inf),
    "relative": (0.0, math.inf),
    "errors": (0.0, math.inf),
}
"""The lowest and highest value in each unit."""


def _threshold(default: Value, unit: str, meaning: str) -> Value:
    return field(default=default, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a figure becomes a finding; a share is the part of the records in which the figure was measured.

    Raises:
        ConfigError: a value is out of the range of its unit.
    """

    min_records: int = _threshold(20, "records", "averages and shares of fewer records than this are not judged")
    persistent_share: float = _threshold(0.5, "share", "what holds in this part of the records persists")
    certainty: float = _threshold(2.0, "errors", "standard errors that are added to an estimate to be sure of it")
    imbalance_ratio: float = _threshold(10.0, "ratio", "gradient norms this far apart are imbalanced")
    any_conflict: float = _threshold(0.0, "cosine", "below: the two gradients oppose each other at all")
    clear_conflict: float = _threshold(-0.3, "cosine", "below: they oppose each other clearly")
    strong_conflict: float = _threshold(-0.5, "cosine", "below: they oppose each other strongly")
    any_conflict_share: float = _threshold(0.9, "share", "a pair in any conflict this often is noted")
    clear_conflict_share: float = _threshold(0.3, "share", "a pair in clear conflict this often is a warning")
    strong_conflict_share: float = _threshold(0.3, "share", "a pair in strong conflict this often is a warning")
    smoothed_conflict: float = _threshold(-0.2, "cosine", "the smoothed cosine must be below this as often, too")
    smoothing_window: int = _threshold(10, "records", "length of the moving average of smoothed cosines")
    cos_theta: float = _threshold(0.2, "cosine", "below: IMGrad's cos theta is low; noted where that persists")
    domination_share: float = _threshold(0.9, "share", "a task with this part of the direction or weights dominates")
    hurt_share: float = _threshold(0.6, "share", "a task with <g, d> < 0 this often is hurt, if hurt_cosine holds too")
    hurt_cosine: float = _threshold(-0.1, "cosine", "mean cosine of g and d that a hurt task does not exceed")
    hurt_always_share: float = _threshold(0.9, "share", "a task with <g, d> < 0 this often is hurt at any cosine")
    hurt_rounding: float = _threshold(1e-6, "cosine", "cosines of g and d this close to 0 are 0: rounding hurts no one")
    frozen_change: float = _threshold(1e-6, "relative", "weights that vary by no more than this never moved")
    stale_change: float = _threshold(
        0.5, "relative", "weights that change this much between refreshes are stale by then"
    )
    dead_share: float = _threshold(0.9, "share", "a task without any gradient this often is dead")
    inactive_share: float = _threshold(0.05, "share", "a task left out this often is noted")
    skipped_share: float = _threshold(0.01, "share", "steps skipped this often are a warning, fewer a note")
    skipped_error_share: float = _threshold(0.1, "share", "steps skipped this often are an error")
    solver_failed_share: float = _threshold(0.01, "share", "solves failed this often are a warning, fewer a note")
    solver_inaccurate_share: float = _threshold(0.1, "share", "solves stopped early this often are noted")
    divergence_ratio: float = _threshold(3.0, "ratio", "a loss that ends at this many times its best diverged, if")
    divergence_noise: float = _threshold(6.0, "errors", "the rise is this many standard errors, and")
    divergence_progress: float = _threshold(0.1, "share", "it undoes this part of the way from the start to the best")
    flat_fall: float = _threshold(0.05, "share", "a loss that surely fell by less than this did not fall at all")
    spike_ratio: float = _threshold(3.0, "ratio", "a loss at this many times its level is a spike, if")
    spike_noise: float = _threshold(6.0, "errors", "it is also this many standard deviations above it")
    spike_count: int = _threshold(3, "episodes", "this many spikes are a warning")
    clipped_share: float = _threshold(0.5, "share", "clipping at this part of the steps is noted")
    clipped_factor: float = _threshold(0.1, "share", "what clipping leaves of the gradient; from here down a warning")
    low_rate: float = _threshold(0.1, "share", "a learning rate at this part of its peak is low")
    unfinished_fall: float = _threshold(
        0.7, "share", "at a low rate a loss still falls steeply that would lose this part"
    )
    unfinished_pace: float = _threshold(
        0.8, "share", "in as many steps again, if it falls at this part of its mean pace"
    )
    plateau_fall: float = _threshold(0.04, "share", "a loss that surely changed less in the last half is on a plateau")
    memorising_fall: float = _threshold(0.3, "share", "learned by heart if the training loss meanwhile falls by this")
    min_validations: int = _threshold(8, "validations", "fewer validations than this are not judged")
    overfitting_ratio: float = _threshold(1.1, "ratio", "a validation loss this far above its best overfits, if")
    overfitting_noise: float = _threshold(6.0, "errors", "the rise is this many standard errors, and meanwhile")
    overfitting_fall: float = _threshold(0.05, "share", "the training loss fell by at least this")

    def __post_init__(self) -> None:
        wrong = []
        for name, _, unit, _ in self.table():
            low, high = _RANGES[unit]
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                wrong.append(f"{name} = {value:g}: {_in_words(unit)}")
        if wrong:
            raise ConfigError("threshold " + "\nthreshold ".join(wrong))

    def pick(self, *names: str) -> dict[str, float]:
        """Return the named thresholds as a dict, for a finding to show."""
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, float]:
        """Return all thresholds by name."""
        return self.pick(*(f.name for f in fields(self)))

    def table(self) -> list[tuple[str, str, str, str]]:
        """Return (name, value, unit, meaning) of every threshold, in order."""
        return [(f.name, str(getattr(self, f.name)), f.metadata["unit"], f.metadata["meaning"]) for f in fields(self)]

    def overridden(self, assignments: Iterable[str]) -> "Thresholds":
        """Return these thresholds with others in place of some, each given as "name=value".

        Raises:
            ConfigError: a name is unknown or given twice, or a value is no number or out of range.
        """
        values: dict[str, float] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(
                    f"threshold {assignment!r}: no value\n    write name=value, such as imbalance_ratio=5"
                )
            if name not in self.to_dict():
                raise UnknownNameError("threshold", name, list(self.to_dict()))
            if name in values:
                raise ConfigError(f"threshold {name}: given twice\n    give it once")
            values[name] = _number(name, text, whole=isinstance(getattr(self, name), int))
        return replace(self, **values)  # type: ignore[arg-type]


def _number(name: str, text: str, *, whole: bool) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"threshold {name} = {text!r}: not {kind}\n    give {kind}") from None


def _in_words(unit: str) -> str:
    low, high = _RANGES[unit]
    return f"it must be {low:g} or more" if high == math.inf else f"it must be between {low:g} and {high:g}"


DEFAULT = Thresholds()
