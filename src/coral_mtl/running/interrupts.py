"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests(told: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that answers whether Ctrl-C was pressed or SIGTERM came since the block began.

    `told` is called at the first signal. From then on both signals do what they do elsewhere: a second one kills.
    """
    asked = False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        told()

    for number in before:
        signal.signal(number, request)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
