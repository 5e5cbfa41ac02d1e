"""What a run depends on beside its configuration: versions, hardware, the commit it was started from."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch


def describe_environment(device: torch.device) -> dict[str, str]:
    """Return what the last digits of a figure can depend on."""
    return {
        "coral-mtl": version("coral-mtl"),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
    }


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out at `folder`, with `-dirty` after it where files differ, or None without git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
