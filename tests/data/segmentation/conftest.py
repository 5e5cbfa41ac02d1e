"""Small trees of PNG files, and the task definitions that go with them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TASKS = """\
coral:
  id2label: {0: unlabeled, 3: dead, 6: alive, 25: acropora}
  groupby:
    mapping: {0: 0, 1: 3, 2: [6, 25]}
    id2label: {0: unlabeled, 1: lost, 2: living}
ground:
  id2label: {5: sand, 18: rubble}
"""


@dataclass
class Tree:
    """A folder in the layout of Cityscapes, one of patches, and a file of tasks; frames are random."""

    root: Path

    @property
    def frames(self) -> Path:
        return self.root / "frames"

    @property
    def patches(self) -> Path:
        return self.root / "patches"

    @property
    def tasks(self) -> Path:
        return self.root / "tasks.yaml"

    def image(self, split: str, name: str) -> Path:
        return self.frames / "leftImg8bit" / split / "site1" / f"{name}_leftImg8bit.png"

    def mask(self, split: str, name: str) -> Path:
        return self.frames / "gtFine" / split / "site1" / f"{name}_gtFine.png"

    def add(self, image: Path, mask: Path, size: tuple[int, int], seed: int) -> None:
        generator = np.random.default_rng(seed)
        for file in (image, mask):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3)).astype(np.uint8)).save(image)
        Image.fromarray(generator.integers(0, 40, size).astype(np.uint8)).save(mask)


@pytest.fixture
def tree(tmp_path):
    """Four frames to train on and two to validate, 24 high and 32 wide; three patches of 16 x 16."""
    made = Tree(tmp_path)
    made.tasks.write_text(TASKS)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            made.add(made.image(split, f"f{number}"), made.mask(split, f"f{number}"), (24, 32), 10 * count + number)
    for number in range(3):
        made.add(
            made.patches / "images" / f"p{number}.png", made.patches / "masks" / f"p{number}.png", (16, 16), number
        )
    return made
