"""One thing that a diagnosis has to say about a run."""

import math
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How much a finding weighs."""

    NOTE = 1
    """Worth knowing."""
    WARNING = 2
    """Worth acting on."""
    ERROR = 3
    """To be mended before anything else is judged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding with the evidence for it.

    kind: what was found, one of `KINDS`.
    title: what was found, in a sentence with its figures.
    tasks: the names of the tasks it is about.
    figures: the figures behind it.
    threshold: the thresholds that made them a finding, by name.
    steps: first and last step that it covers.
    advice: what to do.
    """

    kind: str
    severity: Severity
    title: str
    tasks: tuple[str, ...]
    figures: dict[str, Any]
    threshold: dict[str, float]
    steps: tuple[int, int]
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for JSON; the severity as a word."""
        return asdict(self) | {"severity": self.severity.name.lower()}


KINDS = (
    "divergence",
    "non_finite",
    "skipped",
    "dead",
    "flat",
    "spikes",
    "solver",
    "frozen",
    "hurt",
    "imbalance",
    "conflict",
    "domination",
    "stale",
    "overfitting",
    "clipped",
    "unfinished",
    "plateau",
    "inactive",
    "stationary",
    "cos_theta",
)
"""All kinds of findings, in the order in which findings of equal severity are shown."""


def percent(share: float) -> str:
    """Return a share in words: 0.034 as "3.4 %"."""
    return f"{100.0 * share:.3g} %"


def two_digits(figure: float) -> str:
    """Return a figure with two digits after the point, and no minus in front of 0.00."""
    return f"{round(figure, 2) + 0.0:.2f}"


def ratio_of(logarithm: float) -> float:
    """Return how many times larger the larger of two figures is, from log10 of their ratio; at most 1e300."""
    return 10.0 ** min(abs(logarithm), 300.0)


def exponential(logarithm: float) -> float:
    """Return e to the power of a figure, between 1e-300 and 1e300."""
    return math.exp(min(max(logarithm, -690.0), 690.0))


def lost(logarithmic_fall: float) -> float:
    """Return the share that a figure lost whose logarithm fell by so much; negative where it rose."""
    return 1.0 - exponential(-logarithmic_fall)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Return names in words: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
