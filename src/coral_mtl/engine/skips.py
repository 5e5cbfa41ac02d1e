"""How many steps were skipped one after the other, where a GPU may tell it later than the step is over."""

from collections import deque

from coral_mtl.engine.step import Step


class Skips:
    """Counts the skipped steps since the last one that was taken."""

    def __init__(self) -> None:
        """Begin before the first step."""
        self._counted = 0
        self._unsettled: deque[Step] = deque()

    def note(self, step: Step) -> None:
        """Take in the next step."""
        self._unsettled.append(step)
        self.count()

    def count(self, *, wait: bool = False) -> int:
        """Return the number, as far as the device has told, or when it has told everything."""
        while self._unsettled and (wait or (finite := self._unsettled[0].finite) is None or finite.here):
            step = self._unsettled.popleft()
            skipped = step.skipped if step.finite is None else step.settled().skipped
            self._counted = self._counted + 1 if skipped else 0
        return self._counted

    def restore(self, count: int) -> None:
        """Go on from a number."""
        self._unsettled.clear()
        self._counted = count
