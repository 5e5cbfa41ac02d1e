"""Ctrl-C, SIGTERM and a closed terminal as a request to stop at the next good moment."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STREAMS = (1, 2)


@contextmanager
def stop_requests(told: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that answers whether Ctrl-C was pressed, or SIGTERM or SIGHUP came, since the block began.

    `told` is called at the first Ctrl-C or SIGTERM. From then on both do what they do elsewhere: a second one kills.
    A closed terminal sends SIGHUP more than once, which never kills; what is still written to it is lost. Where SIGHUP
    is ignored, as under nohup, it stays so; Windows has none.
    """
    asked = False
    terminals = [stream for stream in _STREAMS if os.isatty(stream)]

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        told()

    def hung_up(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        _to_nowhere(terminals)

    handlers = {signal.SIGINT: request, signal.SIGTERM: request}
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = hung_up
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _to_nowhere(streams: list[int]) -> None:
    """Let what is written to these descriptors vanish, where each line would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream)
    os.close(nowhere)
