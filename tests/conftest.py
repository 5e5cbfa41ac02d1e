"""Settings of the whole suite, and the real images that some tests look at."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the suite runs in parallel processes; threads of their own would fight over the cores


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with coralscapes_sample, coralscapes_patches and camvid_*.npz, which are no part of the project."""
    folder = Path(os.environ.get("CORAL_MTL_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real images: there is no {folder}, and CORAL_MTL_DATA points to no other folder")
    return folder
