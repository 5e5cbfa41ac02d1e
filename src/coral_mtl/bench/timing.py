"""Times of things that are run in turns, so that what disturbs a machine disturbs them all alike."""

import math
import random
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

import torch

Name = TypeVar("Name")

Prepared = Callable[[], object]
"""What is timed."""

Candidate = Callable[[], Prepared]
"""Prepares a run, such as a forward pass, and returns what is timed, such as the backward pass."""


class Stopwatch:
    """Seconds of a run: CPU time, which other programs hardly change; wall clock where several threads or a GPU work.

    A GPU is waited for before and after.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        alone = device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.process_time if alone else time.perf_counter
        self.name = "CPU time" if alone else "wall clock"

    def __call__(self, run: Prepared) -> float:
        self._wait()
        start = self._clock()
        run()
        self._wait()
        return self._clock() - start

    def _wait(self) -> None:
        if self._device.type in ("cuda", "mps"):
            getattr(torch, self._device.type).synchronize()


def unprepared(run: Prepared) -> Candidate:
    """Return a candidate that prepares nothing, all of whose run is timed."""
    return lambda: run


def in_turns(
    candidates: Mapping[Name, Candidate], rounds: int, stopwatch: Stopwatch, *, within: float = math.inf
) -> dict[Name, list[float]]:
    """Return the seconds of each candidate in every round.

    Each runs once beforehand, uncounted: first runs allocate, plan and compile. The order changes from round to round,
    since a run finds the caches and the allocator as the one before it left them. After `within` seconds there are no
    further rounds, beyond three.
    """
    order = list(candidates)
    shuffle = random.Random(0).shuffle
    seconds: dict[Name, list[float]] = {name: [] for name in order}
    start = time.monotonic()
    for turn in range(rounds + 1):
        if turn > 3 and time.monotonic() - start > within:
            break
        for name in order:
            taken = stopwatch(candidates[name]())
            if turn:
                seconds[name].append(taken)
        shuffle(order)
    return seconds


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """The smallest and the median of some times, in ms: the first is disturbed least, the second is what one meets."""
    return {"min": round(1e3 * min(seconds), 3), "median": round(1e3 * median(seconds), 3)}
