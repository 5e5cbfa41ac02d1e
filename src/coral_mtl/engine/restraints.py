"""What acts on named parameters beside the tasks, and that no strategy sees: regularisers and constraints."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coral_mtl.constraints import Constraint
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.losses.regularisers import Proximal, Regulariser
from coral_mtl.schedules import Horizon, Written, bounded_curve

Figures = dict[str, Any]


class Regularisation:
    """A regulariser on named parameters, with a factor over time: a term of the loss, or a map after each step."""

    def __init__(
        self,
        regulariser: Regulariser,
        model: nn.Module,
        names: Sequence[str],
        run: Horizon,
        *,
        factor: Written = 1.0,
        apply: Literal["proximal", "term"] | None = None,
    ) -> None:
        """Put a price on the parameters `names` of `model`; `apply=None` takes the map where there is one.

        Raises:
            ConfigError: no parameter is trained; the regulariser has no map, or its parameters are reparametrised.
        """
        self.regulariser = regulariser
        self._owners = [(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]
        self._factor = bounded_curve("its schedule", factor, run)
        mapped = isinstance(regulariser, Proximal)
        if apply == "proximal" and not mapped:
            raise ConfigError(f"{type(regulariser).__name__} has no map to apply after a step\n    take apply: term")
        self.proximal = mapped and apply != "term"
        tensors = self.tensors()
        if self.proximal and not all(isinstance(tensor, nn.Parameter) for tensor in tensors):
            raise ConfigError("a reparametrised parameter cannot be changed after a step\n    take apply: term")
        if not any(tensor.requires_grad for tensor in tensors):
            raise ConfigError("none of its parameters is trained, so that it has no effect\n    leave it out")

    def tensors(self) -> list[Tensor]:
        """Return the tensors with a price on them."""
        return [getattr(module, leaf) for module, leaf in self._owners]

    def term(self, step: int) -> Tensor | None:
        """Return the term of the loss at optimiser step `step`; None where there is none, or its factor is 0."""
        factor = self._factor(step)
        return None if self.proximal or factor == 0.0 else factor * self.regulariser.penalty(self.tensors())

    @torch.no_grad()
    def after_step(self, step: int, rates: Mapping[Tensor, float]) -> None:
        """Apply the map, with each trained tensor's learning rate as its step size."""
        factor = self._factor(step)
        if self.proximal and factor > 0.0 and isinstance(self.regulariser, Proximal):
            for tensor in self.tensors():
                if tensor in rates:
                    tensor.copy_(self.regulariser.shrink(tensor, factor * rates[tensor]))

    @torch.no_grad()
    def figures(self, step: int) -> float:
        """Return the price at present, its factor included."""
        return float(self._factor(step) * self.regulariser.penalty(self.tensors()))


class Restraints:
    """All regularisers and constraints of a run by name, and the calls that a step makes to them.

    After the gradients of the tasks are combined: `add_gradients`; then the gradient is unscaled and clipped; right
    before and right after the optimiser: `before_step`, `after_step`. A skipped step makes none of these calls.
    """

    def __init__(
        self,
        regularisers: Mapping[str, Regularisation] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
    ) -> None:
        self.regularisers = dict(regularisers or {})
        self.constraints = dict(constraints or {})

    def add_gradients(self, step: int, scale: Callable[[Tensor], Tensor] = lambda term: term) -> None:
        """Add the gradients of all terms of optimiser step `step`; `scale` is that of a GradScaler.

        Raises:
            TrainingError: a term is not finite; nothing was harmed yet.
        """
        terms = {f"regulariser {name!r}": one.term(step) for name, one in self.regularisers.items()}
        terms |= {f"constraint {name!r}": one.term(step) for name, one in self.constraints.items()}
        present = {name: term for name, term in terms.items() if term is not None and term.requires_grad}
        if not present:
            return
        for name, value in zip(present, torch.stack(list(present.values())).tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingError(f"step {step + 1}: {name} is {value} on its parameters\n    lower its weight")
        scale(torch.stack(list(present.values())).sum()).backward()

    def before_step(self) -> None:
        """Take note of the parameters before the optimiser moves them."""
        for constraint in self.constraints.values():
            constraint.before_step()

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep the constraints, then shrink, so that what is projected to 0 stays there."""
        for constraint in self.constraints.values():
            constraint.after_step(step)
        if self.regularisers:
            rates = {tensor: float(group["lr"]) for group in optimizer.param_groups for tensor in group["params"]}
            for regularisation in self.regularisers.values():
                regularisation.after_step(step, rates)

    def figures(self, step: int) -> Figures:
        """Return prices by regulariser, and violations by constraint and parameter; empty where there are none."""
        prices = {name: one.figures(step) for name, one in self.regularisers.items()}
        states = {name: constraint.figures() for name, constraint in self.constraints.items()}
        return ({"regularisers": prices} if prices else {}) | ({"constraints": states} if states else {})

    def state_dict(self) -> dict[str, Any]:
        """What the constraints remember, such as multipliers."""
        return {name: constraint.state_dict() for name, constraint in self.constraints.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; constraints that were not there begin anew."""
        for name, own in state.items():
            if name in self.constraints:
                self.constraints[name].load_state_dict(own)
