"""How fast a run goes, and how it stands at a glance."""

from collections import deque
from time import monotonic

import numpy as np

from coral_mtl.engine.reports import StepReport

_STEPS = 50
_MOST_TASKS = 8


class Pace:
    """Time per optimiser step, over the last 50 moments that were noted."""

    def __init__(self) -> None:
        """Start before the first step."""
        self._moments: deque[tuple[float, int]] = deque(maxlen=_STEPS + 1)

    def note(self, step: int, moment: float | None = None) -> None:
        """Note that `step` has just ended, or ended at `moment` (of time.monotonic)."""
        self._moments.append((monotonic() if moment is None else moment, step))

    @property
    def seconds(self) -> float | None:
        """Seconds a step, validations in between included; None before two steps are known."""
        if not self._moments or self._moments[-1][1] == self._moments[0][1]:
            return None
        (start, first), (end, last) = self._moments[0], self._moments[-1]
        return (end - start) / (last - first)


class Glance:
    """A run's figures in a few words: losses by task, pairs in conflict, time a step, time to go."""

    def __init__(self, total_steps: int) -> None:
        """Start before the first step of so many."""
        self._total = total_steps
        self._pace = Pace()
        self._conflict: float | None = None
        self._report: StepReport | None = None

    def take(self, report: StepReport) -> None:
        """Take in the next step."""
        self._report = report
        self._pace.note(report.number)
        gram = report.account.gram
        if gram is not None and len(gram) > 1:
            self._conflict = float(np.mean(gram[np.triu_indices(len(gram), 1)] < 0.0))

    def words(self, *, to_go: bool = True) -> str:
        """Return the line; the share of pairs in conflict is that of the last step whose gradients were measured."""
        losses = self._report.account.losses if self._report else {}
        parts = [f"{task} {loss:.4g}" for task, loss in list(losses.items())[:_MOST_TASKS]]
        parts += [f"and {len(losses) - _MOST_TASKS} more"] if len(losses) > _MOST_TASKS else []
        parts += [f"{self._conflict:.0%} of pairs in conflict"] if self._conflict is not None else []
        seconds = self._pace.seconds
        if seconds is not None and self._report is not None:
            parts.append(f"{1000.0 * seconds:.3g} ms a step")
            parts += [f"{duration(seconds * (self._total - self._report.number))} to go"] if to_go else []
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words, two units at most: "45 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"
