"""The order of the training items, as a function of (seed, epoch), and the place in it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from coral_mtl.errors import CheckpointError


class ResumableSampler(Sampler[int]):
    """Indices 0 .. length-1 in an order that is a pure function of (seed, epoch), from any place on.

    Workers fetch items before they are trained on, so the sampler cannot know how far training is: the caller tells it,
    with `skip`. An iteration begins behind what was skipped before it began; `len` is always that of a whole epoch.
    """

    def __init__(self, length: int, *, seed: int = 0, shuffle: bool = True) -> None:
        """Begin at the first item of epoch 0.

        Args:
            length: number of items.
            seed: seed of the order, 0 or more (default 0).
            shuffle: whether the items come in random order, a new one each epoch (default true).
        """
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the first item of `epoch`."""
        self.epoch = epoch
        self.position = 0

    def skip(self, n_samples: int) -> None:
        """Count `n_samples` further items of this epoch as done."""
        self.position += n_samples

    def order(self) -> np.ndarray:
        """Return all indices, in the order of this epoch."""
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.length)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order()[self.position :].tolist())

    def __len__(self) -> int:
        return self.length

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the place in it, with what the order was made from."""
        return {"length": self.length, "seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state_dict` was taken; raise CheckpointError where that was an order of other items."""
        for name in ("length", "seed"):
            if state[name] != getattr(self, name):
                raise CheckpointError(
                    f"the checkpoint's sampler has {name} {state[name]}, this run's has {getattr(self, name)}: the "
                    "place in the epoch means nothing here\n    resume with the data and the seed of the first run"
                )
        self.epoch, self.position = state["epoch"], state["position"]
