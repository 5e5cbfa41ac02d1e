"""A set on named parameters, and the calls that a training step makes to keep them in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coral_mtl.constraints.sets import FeasibleSet
from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Horizon

ACTIVE_WITHIN = 1e-6
"""A bound that is no further away than this is counted as active."""


class Constraint:
    """A set on named parameters in one mode.

    A step calls `term`, whose gradient is added after every strategy's and before clipping; `before_step`; the
    optimiser; `after_step`. A step that is skipped calls neither of the last two.
    """

    def __init__(self, allowed: FeasibleSet, model: nn.Module, names: Sequence[str], run: Horizon) -> None:
        """Put `allowed` on the parameters `names` of `model`, each tensor by itself, for a run of length `run`.

        Raises:
            ConfigError: there are none, or none of them is trained.
        """
        if not names:
            raise ConfigError(
                f"{type(self).__name__}: a constraint on no parameter has no effect\n    name one or more"
            )
        self.allowed = allowed
        self.names = tuple(names)
        self._owners = {name: _owner(model, name) for name in names}
        if not any(tensor.requires_grad for tensor in self.tensors().values()):
            raise ConfigError(
                f"{type(self).__name__}: none of its parameters is trained, so that it has no effect\n    leave it out"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the constrained tensors by name."""
        return {name: getattr(module, leaf) for name, (module, leaf) in self._owners.items()}

    def violations(self) -> dict[str, Tensor]:
        """Return the signed c_i of each tensor, above 0 where violated."""
        return {name: self.allowed.violation(tensor) for name, tensor in self.tensors().items()}

    def term(self, step: int) -> Tensor | None:
        """Return the regulariser of optimiser step `step`, a scalar, or None in a mode that has none."""
        return None

    def before_step(self) -> None:
        """Take note of the parameters before the optimiser moves them."""

    def after_step(self, step: int) -> None:
        """Do what the mode does after optimiser step `step`."""

    @torch.no_grad()
    def figures(self) -> dict[str, dict[str, float]]:
        """Return, by parameter, the largest `violation` (0 if none) and the number of `active` bounds, c_i >= -1e-6.

        The sum of a `Simplex` is two of its bounds.
        """
        return {
            name: {
                "violation": max(0.0, violation.max().item()),
                "active": int((violation >= -ACTIVE_WITHIN).sum()),
            }
            for name, violation in self.violations().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    prefix, _, leaf = name.rpartition(".")
    return model.get_submodule(prefix), leaf
