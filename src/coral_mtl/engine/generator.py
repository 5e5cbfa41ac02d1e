"""Randomness of a strategy's own."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from coral_mtl.engine.strategy import State


class SeededGenerator:
    """A strategy's own source of randomness: untouched by the user's seeds, equal on all processes, checkpointed."""

    def __init__(self, seed: int | None) -> None:
        """Start from `seed`; None stands for 0."""
        self._seed = seed or 0
        self._generator = torch.Generator().manual_seed(self._seed)

    def normal(self, count: int) -> np.ndarray:
        """(count,) draws of the standard normal distribution."""
        return torch.randn(count, generator=self._generator, dtype=torch.float64).numpy()

    def uniform(self, count: int) -> np.ndarray:
        """(count,) draws of the uniform distribution on [0, 1)."""
        return torch.rand(count, generator=self._generator, dtype=torch.float64).numpy()

    def permutation(self, count: int) -> np.ndarray:
        """A random order of 0 .. count-1."""
        return torch.randperm(count, generator=self._generator).numpy()

    def visiting_orders(self, count: int) -> np.ndarray:
        """(count, count - 1) indices, row i a random order of all but i: uniform keys, sorted, with i last and cut."""
        keys = self.uniform(count * count).reshape(count, count)
        np.fill_diagonal(keys, np.inf)
        return np.argsort(keys, axis=1)[:, :-1]

    def reset(self) -> Self:
        """Start again from the seed."""
        self._generator.manual_seed(self._seed)
        return self

    def state_dict(self) -> State:
        """The generator's state, as a byte tensor."""
        return {"state": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._generator.set_state(state["state"])
