"""What training took: time, and memory at its peak."""

import sys
from collections.abc import Mapping
from time import perf_counter, process_time
from typing import Any

import torch

if sys.platform != "win32":
    import resource


class Meter:
    """Measures a run from its creation on, on top of what its earlier sessions took."""

    def __init__(self, device: torch.device, before: Mapping[str, Any] | None = None) -> None:
        """Start to measure; `before` is what `read` said at the end of the session before, None in the first."""
        self._device = device
        self._before = before or {}
        self._start = perf_counter(), process_time()

    def read(self, steps: int) -> dict[str, Any]:
        """Return the time of all sessions that ended in good order, the steps they took, and the peaks of memory.

        steps: optimiser steps; those of this session are `steps`.
        seconds: on the clock; cpu_seconds: of this process, which other programs hardly change.
        peak_memory: bytes of this whole process, torch itself included; None on Windows, which does not tell.
        peak_device_memory: bytes of tensors on the GPU; None without one.
        """
        started, started_cpu = self._start
        return {
            "steps": self._before.get("steps", 0) + steps,
            "seconds": self._before.get("seconds", 0.0) + perf_counter() - started,
            "cpu_seconds": self._before.get("cpu_seconds", 0.0) + process_time() - started_cpu,
            "peak_memory": _larger(self._before.get("peak_memory"), _peak_of_process()),
            "peak_device_memory": _larger(self._before.get("peak_device_memory"), self._peak_of_device()),
        }

    def _peak_of_device(self) -> int | None:
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None


def _peak_of_process() -> int | None:
    if sys.platform == "win32":
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _larger(a: int | None, b: int | None) -> int | None:
    known = [size for size in (a, b) if size is not None]
    return max(known) if known else None
