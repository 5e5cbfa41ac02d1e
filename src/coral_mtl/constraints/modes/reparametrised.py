"""A smooth map onto the inside of the set, whose argument is trained."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from coral_mtl import registry
from coral_mtl.constraints.modes.constraint import Constraint
from coral_mtl.constraints.sets import FeasibleSet, Simplex
from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Horizon


@registry.constraint_modes.register
class Reparametrised(Constraint):
    """w = T(v) with v free: softplus, sigmoid, softmax, or v / sqrt(1 + |v|^2 / r^2).

    Nothing is ever violated, and bounds are never reached, so no weight becomes exactly 0. To be set up before the
    optimiser, which trains v: the parameter `name` is called `parametrizations.<name>.original` from then on.
    """

    def __init__(self, allowed: FeasibleSet, model: nn.Module, names: Sequence[str], run: Horizon) -> None:
        """Register the map on each parameter; its value stays what it is.

        Raises:
            ConfigError: a parameter starts on or outside the boundary, where v would be infinite.
        """
        super().__init__(allowed, model, names, run)
        for name, tensor in self.tensors().items():
            if not self._strictly_inside(tensor):
                raise ConfigError(
                    f"Reparametrised: {name} starts on or outside the boundary of {type(allowed).__name__}, where no "
                    "finite value stands for it\n    begin inside, or take the mode Projected"
                )
        for module, leaf in self._owners.values():
            parametrize.register_parametrization(module, leaf, allowed.transform())

    @torch.no_grad()
    def _strictly_inside(self, tensor: torch.Tensor) -> bool:
        if isinstance(self.allowed, Simplex):
            on_the_plane = bool((self.allowed.violation(tensor) <= 1e-5 * self.allowed.radius).all())
            return on_the_plane and bool((tensor > 0.0).all())
        return bool((self.allowed.violation(tensor) < 0.0).all())
