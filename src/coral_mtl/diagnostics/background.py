"""Work that need not hold up training, done in order on a thread of its own."""

from collections.abc import Callable
from queue import Queue
from threading import Thread

Work = Callable[[], object]

WAITING = 1000
"""Pieces of work that may wait to be done; the next one then waits for the thread."""


class Background:
    """Does pieces of work one after the other, beside the thread that hands them over.

    What goes wrong in one is raised at the next call of any method; work behind it is not done.
    """

    def __init__(self) -> None:
        """Start no thread yet."""
        self._queue: Queue[Work | None] = Queue(WAITING)
        self._thread: Thread | None = None
        self._problem: BaseException | None = None

    def do(self, work: Work) -> None:
        """Hand over a piece of work."""
        self._raise()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="coral-mtl records", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def wait(self) -> None:
        """Return when all work handed over so far is done."""
        self._queue.join()
        self._raise()

    def close(self) -> None:
        """Wait, and end the thread; another `do` starts a new one."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._raise()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                if self._problem is None:
                    work()
            except BaseException as problem:  # noqa: BLE001 - the other thread raises it
                self._problem = problem
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _raise(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
