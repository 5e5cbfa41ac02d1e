"""Two short runs, one of a segmentation and one without; tests that write into one take a copy."""

import shutil

import numpy as np
import pytest

from coral_mtl.config import load_config
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run

TASKS = """
layout:
  id2label: {11: rest, 0: sky, 1: building, 3: road}
  groupby: {mapping: {0: 11, 1: 0, 2: [1, 3]}, id2label: {0: rest, 1: sky, 2: solid}}
traffic:
  id2label: {11: rest, 8: car}
"""
SEGMENTATION = """
name: streets
data: {{type: CamVid, params: {{tasks: {folder}/tasks.yaml, path: {folder}}}, batch_size: 2}}
model: {{type: SegmentationTrunk, params: {{width: 4}}}}
trainer: {{epochs: 2, device: cpu, output_dir: {folder}/run}}
"""
DIGITS = """
name: digits
data: {{type: OverlappingDigits, params: {{train_size: 60, validation_size: 50}}, batch_size: 20}}
model: {{type: SharedTrunk, params: {{width: 2, features: 8}}}}
trainer: {{epochs: 2, device: cpu, output_dir: {folder}/run}}
"""


def trained(folder, text):
    (folder / "run.yaml").write_text(text.format(folder=folder))
    run = Run.create(build_experiment(load_config(folder / "run.yaml")), command=["test"])
    run.train()
    return run.folder.path


@pytest.fixture(scope="session")
def streets(tmp_path_factory):
    """Six training and five validation frames of 24 x 40 pixels, made of blocks, with void among them."""
    folder = tmp_path_factory.mktemp("streets")
    (folder / "tasks.yaml").write_text(TASKS)
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 5)):
        ids = generator.choice([0, 1, 3, 8, 9, 11], (count, 6, 10)).repeat(4, axis=1).repeat(4, axis=2)
        images = np.stack([20 * ids, 255 - 20 * ids, 7 * ids], axis=-1) + generator.integers(0, 20, (*ids.shape, 3))
        names = np.array([f"{split} {index}" for index in range(count)])
        arrays = {"images": images.clip(0, 255).astype(np.uint8), "labels": ids.astype(np.uint8), "names": names}
        np.savez(folder / f"camvid_{split}_24x40.npz", **arrays)
    return trained(folder, SEGMENTATION)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("digits"), DIGITS)


@pytest.fixture
def run(streets, tmp_path):
    """A copy of the segmentation's run to write into."""
    return shutil.copytree(streets, tmp_path / "run")
