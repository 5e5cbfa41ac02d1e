"""What was odd about the lines of a file: each kind of oddity once, with its first line and how often it came."""

from pathlib import Path


class Remarks:
    """Oddities by kind, in order of appearance."""

    def __init__(self, path: Path) -> None:
        """Start without any, for the lines of `path`."""
        self._path = path
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}

    def add(self, line: int, what: str, count: int = 1) -> None:
        """Take in that `what` was found at `line`, and at `count - 1` lines after it."""
        self._first.setdefault(what, line)
        self._count[what] = self._count.get(what, 0) + count

    def take_over(self, others: "Remarks") -> None:
        """Move the remarks of `others` here."""
        for what, line in others._first.items():
            self.add(line, what, others._count[what])
        others._first, others._count = {}, {}

    def texts(self) -> tuple[str, ...]:
        """Return "file:line: what (so many times)" for every kind."""
        return tuple(
            f"{self._path}:{line}: {what}" + (f" ({self._count[what]} times)" if self._count[what] > 1 else "")
            for what, line in self._first.items()
        )
