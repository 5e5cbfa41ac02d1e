"""Two overlapping handwritten digits, composed from real scans: a small data set that needs no download."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch.utils.data import Dataset

from coral_mtl import registry
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import MissingExtraError
from coral_mtl.options import NonNegativeInt, Positive, PositiveInt

SCAN_SIDE = 8
HELD_OUT_SHARE = 0.2
"""Share of the scans that only validation is composed from."""

Item = tuple[torch.Tensor, dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Scans:
    """Single digits: images (N, 8, 8) float32 from 0 (paper) to 1 (full stroke), and labels (N,) from 0 to 9."""

    images: np.ndarray
    labels: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Scans":
        return Scans(self.images[chosen], self.labels[chosen])

    @property
    def ink(self) -> np.ndarray:
        """(N,) total stroke mass of each scan, in pixels of full stroke."""
        return self.images.sum(axis=(1, 2), dtype=np.float64)


@registry.data.register
class OverlappingDigits:
    """Pairs of overlapping handwritten digits with the tasks `left`, `right` and `ink`.

    Two of the 1,797 scans of 8 x 8 pixels that scikit-learn ships (UCI, Alpaydin & Kaynak 1998) are laid side by side,
    `overlap` columns over one another, each at its own random height; where strokes meet, the darker one shows.
    `left` and `right` are the two digits. `ink` is the stroke mass of both scans, hidden strokes included, less what
    two training scans have on average, in pixels of full stroke (standard deviation about 3) times `ink_scale`. Its
    squared error has gradients one to two orders of magnitude above those of the digits' cross-entropy.

    A fifth of the scans is kept for validation and appears in no training item. Item i is a pure function of
    (`seed`, part, i), so items look the same in every epoch, worker and resumed run.
    """

    def __init__(
        self,
        *,
        train_size: PositiveInt = 6000,
        validation_size: PositiveInt = 2000,
        overlap: Annotated[int, Interval(ge=0, le=6)] = 4,
        jitter: NonNegativeInt = 2,
        ink_scale: Positive = 1.0,
        seed: NonNegativeInt = 0,
    ) -> None:
        """Split the scans; items are composed when they are asked for.

        Args:
            train_size: number of training items (default 6000).
            validation_size: number of validation items (default 2000).
            overlap: columns that the two scans share, 0 to 6 (default 4).
            jitter: rows that a digit may lie below another, drawn evenly (default 2).
            ink_scale: factor on the target of `ink`; the squared error's gradient grows with it (default 1.0).
            seed: seed of the split and of the items. The run's seed leaves the data alone, so that runs with different
                seeds are measured on the same items (default 0).

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        scans = _load_scans()
        order = np.random.default_rng(seed).permutation(len(scans.labels))
        held_out, training = np.split(order, [round(HELD_OUT_SHARE * len(order))])
        composer = PairComposer(overlap, jitter, ink_scale, mean_ink=2.0 * scans[training].ink.mean())
        self.train = DigitPairs(scans[training], composer, size=train_size, entropy=(seed, 0))
        self.validation = DigitPairs(scans[held_out], composer, size=validation_size, entropy=(seed, 1))
        self.tasks = self.task_specs()
        self.input_shape = (1, *composer.shape)

    @staticmethod
    def task_specs(**options: Any) -> dict[str, TaskSpec]:
        """Return the tasks by name, which are the same whatever the options; nothing is loaded."""
        return {
            "left": TaskSpec("classification", 10),
            "right": TaskSpec("classification", 10),
            "ink": TaskSpec("regression", 1),
        }


@dataclass(frozen=True, slots=True)
class PairComposer:
    """How two scans become one canvas and one ink target; the options of OverlappingDigits, and the mean ink."""

    overlap: int
    jitter: int
    ink_scale: float
    mean_ink: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return SCAN_SIDE + self.jitter, 2 * SCAN_SIDE - self.overlap

    def canvas(self, left: np.ndarray, right: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Lay two scans over one another, their top edges at `rows`: the darker stroke shows."""
        left_layer, right_layer = np.zeros((2, *self.shape), dtype=np.float32)
        left_layer[rows[0] : rows[0] + SCAN_SIDE, :SCAN_SIDE] = left
        right_layer[rows[1] : rows[1] + SCAN_SIDE, -SCAN_SIDE:] = right
        return np.maximum(left_layer, right_layer)

    def ink(self, left_ink: float, right_ink: float) -> float:
        """Ink of both scans less the mean, scaled."""
        return self.ink_scale * (left_ink + right_ink - self.mean_ink)


class DigitPairs(Dataset[Item]):
    """Items (canvas (1, H, W), {"left": (), "right": (), "ink": (1,)}) composed from a pool of scans.

    pairs: (size, 2) positions in the pool of each item's left and right scan.
    rows: (size, 2) rows of the canvas that they begin at.
    """

    def __init__(self, scans: Scans, composer: PairComposer, *, size: int, entropy: tuple[int, int]) -> None:
        self.scans = scans
        self._ink = scans.ink
        self._composer = composer
        # row i of a draw does not depend on the number of rows, so neither does item i on `size`
        self.pairs = np.random.default_rng([*entropy, 0]).integers(len(scans.labels), size=(size, 2))
        self.rows = np.random.default_rng([*entropy, 1]).integers(composer.jitter + 1, size=(size, 2))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        left, right = self.pairs[index]
        images, labels = self.scans.images, self.scans.labels
        canvas = self._composer.canvas(images[left], images[right], self.rows[index])
        targets = {
            "left": torch.tensor(labels[left]),
            "right": torch.tensor(labels[right]),
            "ink": torch.tensor([self._composer.ink(self._ink[left], self._ink[right])], dtype=torch.float32),
        }
        return torch.from_numpy(canvas)[None], targets


def _load_scans() -> Scans:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 (an optional extra)
    except ImportError as missing:
        raise MissingExtraError("OverlappingDigits", "scikit-learn", "digits") from missing
    digits = load_digits()
    return Scans((digits.images / 16.0).astype(np.float32), digits.target.astype(np.int64))
