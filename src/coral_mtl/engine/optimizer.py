"""Optimisers by name: parameter groups, and learning rates that follow a schedule counted in optimiser steps."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from coral_mtl import registry
from coral_mtl.options import NonNegative, Positive, ProperFraction
from coral_mtl.parameters import NamedParameters, Treatment, parameter_groups
from coral_mtl.schedules import constant, polynomial_decay

Groups = Sequence[dict[str, Any]]
Betas = tuple[ProperFraction, ProperFraction]
Treatments = Mapping[str, Treatment]
State = dict[str, Any]


class ScheduledOptimizer:
    """A torch optimiser and the schedule of its learning rates.

    optimizer: steps the model's parameters, and in further groups those of the strategy.
    schedule: multiplies each group's own learning rate; to be stepped once after every optimiser step.
    """

    has_own_schedule: ClassVar[bool] = False
    """Whether the class brings a schedule that is no constant."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float] = constant) -> None:
        self.optimizer = optimizer
        self.factor = factor
        self.scale = 1.0
        self.schedule = LambdaLR(optimizer, lambda step: self.scale * self.factor(step))

    def follow(self, factor: Callable[[int], float]) -> None:
        """Take another factor on all learning rates, a function of the optimiser step."""
        self.factor = factor
        self._apply()

    def rescale(self, scale: float) -> None:
        """Multiply all learning rates by `scale` beside the schedule, from now on and in place of the last scale."""
        self.scale = scale
        self._apply()

    def translated(self, optimizer: State, schedule: State) -> tuple[State, State]:
        """Return the states of another run's optimiser and schedule, with the groups and base rates of this one.

        Averages go with the names of parameters, and with the order of the strategy's own ones; of the schedule only
        the clock is taken. Learning rates are not up to date until `rescale` is called on the loaded states.
        """
        own = self.optimizer.state_dict()
        numbers = dict(zip(_labels(own), _numbers(own), strict=True))
        averages = {
            numbers[label]: optimizer["state"][number]
            for label, number in zip(_labels(optimizer), _numbers(optimizer), strict=True)
            if label in numbers and number in optimizer["state"]
        }
        clock = {key: schedule[key] for key in ("last_epoch", "_step_count")}
        return {"state": averages, "param_groups": own["param_groups"]}, self.schedule.state_dict() | clock

    def _apply(self) -> None:
        """Give every group its learning rate of the next step."""
        factor = self.scale * self.factor(self.schedule.last_epoch)
        for group, base in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = base * factor
        self.schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def clip_gradient(parameters: Iterable[nn.Parameter], limit: float | None) -> float:
    """Shorten the whole gradient to the length `limit`, where there is one, and return the factor."""
    if limit is None:
        return 1.0
    norm = float(clip_grad_norm_(parameters, limit))
    return limit / norm if norm > limit else 1.0


def _numbers(state: State) -> list[int]:
    """The numbers that a torch optimiser's state gives to its parameters, group by group."""
    return [number for group in state["param_groups"] for number in group["params"]]


def _labels(state: State) -> list[str | int]:
    """The names of the parameters, group by group; those without one are counted."""
    count = itertools.count()
    named = [group.get("names") or [next(count) for _ in group["params"]] for group in state["param_groups"]]
    return [label for labels in named for label in labels]


def all_groups(
    named_parameters: NamedParameters,
    treatments: Treatments | None,
    extra_groups: Groups,
    *,
    lr: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Return the groups of the model's parameters (see parameters.parameter_groups) and then the extra ones.

    The extra ones have no weight decay where they do not say otherwise, and a learning rate of their own where they
    have one.
    """
    own = parameter_groups(named_parameters, treatments, lr=lr, weight_decay=weight_decay)
    return [*own, *({"weight_decay": 0.0, **group} for group in extra_groups)]


@registry.optimizers.register
class AdamW(ScheduledOptimizer):
    """AdamW (decoupled weight decay) with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
        treatments: Treatments | None = None,
        *,
        lr: Positive = 1e-3,
        weight_decay: NonNegative = 0.01,
        adam_betas: Betas = (0.9, 0.999),
        adam_epsilon: Positive = 1e-8,
    ) -> None:
        """Create the optimiser; `total_steps` plays no part.

        Args:
            lr: learning rate (default 1e-3).
            weight_decay: decoupled weight decay of weights; 1-D parameters and biases have none (default 0.01).
            adam_betas: decay rates of Adam's two averages (default [0.9, 0.999]).
            adam_epsilon: term added to Adam's denominator (default 1e-8).
        """
        groups = all_groups(named_parameters, treatments, extra_groups, lr=lr, weight_decay=weight_decay)
        super().__init__(torch.optim.AdamW(groups, lr=lr, betas=(adam_betas[0], adam_betas[1]), eps=adam_epsilon))


@registry.optimizers.register
class AdamWPolyDecay(AdamW):
    """AdamW with a linear warm-up to the learning rate `lr` and a polynomial decay (see schedules.polynomial_decay).

    The warm-up takes floor(warmup_ratio * total_steps) optimiser steps.
    """

    has_own_schedule = True

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
        treatments: Treatments | None = None,
        *,
        warmup_ratio: ProperFraction = 0.1,
        power: Positive = 1.0,
        min_lr_factor: ProperFraction = 0.0,
        **adam: Any,
    ) -> None:
        """Create the optimiser for a run of `total_steps` optimiser steps.

        Args:
            warmup_ratio: share of the optimiser steps over which the learning rate rises to its peak (default 0.1).
            power: exponent of the decay: 1 is linear, larger ones fall faster at first (default 1.0).
            min_lr_factor: learning rate that the decay ends at, as a share of the peak (default 0.0).
        """
        warmup = int(warmup_ratio * total_steps)
        decay = partial(polynomial_decay, total=total_steps, warmup=warmup, power=power, end_factor=min_lr_factor)
        super().__init__(named_parameters, total_steps, extra_groups, treatments, **adam)
        self.follow(decay)


@registry.optimizers.register
class Adam(ScheduledOptimizer):
    """Adam with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
        treatments: Treatments | None = None,
        *,
        lr: Positive = 1e-3,
        weight_decay: NonNegative = 0.0,
        adam_betas: Betas = (0.9, 0.999),
        adam_epsilon: Positive = 1e-8,
    ) -> None:
        """Create the optimiser; `total_steps` plays no part.

        Args:
            lr: learning rate (default 1e-3).
            weight_decay: L2 penalty on weights, added to their gradient; 1-D parameters and biases have none
                (default 0.0).
            adam_betas: decay rates of Adam's two averages (default [0.9, 0.999]).
            adam_epsilon: term added to Adam's denominator (default 1e-8).
        """
        groups = all_groups(named_parameters, treatments, extra_groups, lr=lr, weight_decay=weight_decay)
        super().__init__(torch.optim.Adam(groups, lr=lr, betas=(adam_betas[0], adam_betas[1]), eps=adam_epsilon))


@registry.optimizers.register
class SGD(ScheduledOptimizer):
    """Stochastic gradient descent with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
        treatments: Treatments | None = None,
        *,
        lr: Positive = 1e-2,
        momentum: ProperFraction = 0.0,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        """Create the optimiser; `total_steps` plays no part.

        Args:
            lr: learning rate (default 1e-2).
            momentum: decay rate of the running sum of gradients (default 0.0, plain gradient descent).
            weight_decay: L2 penalty on weights, added to their gradient; 1-D parameters and biases have none
                (default 0.0).
        """
        groups = all_groups(named_parameters, treatments, extra_groups, lr=lr, weight_decay=weight_decay)
        super().__init__(torch.optim.SGD(groups, lr=lr, momentum=momentum))
