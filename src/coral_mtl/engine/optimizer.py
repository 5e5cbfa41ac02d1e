"""Optimisers by name: parameter groups, and learning rates that follow a schedule counted in optimiser steps."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from coral_mtl import registry
from coral_mtl.options import NonNegative, Positive, ProperFraction
from coral_mtl.schedules import constant, polynomial_decay

NamedParameters = Iterable[tuple[str, nn.Parameter]]
Groups = Sequence[dict[str, Any]]
Betas = tuple[ProperFraction, ProperFraction]


class ScheduledOptimizer:
    """A torch optimiser and the schedule of its learning rates.

    optimizer: steps the model's parameters, and in further groups those of the strategy.
    schedule: multiplies each group's own learning rate; to be stepped once after every optimiser step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float] = constant) -> None:
        self.optimizer = optimizer
        self.schedule = LambdaLR(optimizer, factor)


def parameter_groups(named_parameters: NamedParameters, weight_decay: float, extra_groups: Groups) -> Groups:
    """Split parameters into those with weight decay and those without: 1-D parameters (norms) and biases.

    `extra_groups` follow, without weight decay where they do not say otherwise, and with their own learning rate where
    they have one.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        (plain if parameter.ndim <= 1 or name.endswith("bias") else decayed).append(parameter)
    own = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [*(group for group in own if group["params"]), *({"weight_decay": 0.0, **group} for group in extra_groups)]


@registry.optimizers.register
class AdamWPolyDecay(ScheduledOptimizer):
    """AdamW with a linear warm-up and a polynomial decay of the learning rate (see schedules.polynomial_decay).

    The warm-up takes floor(warmup_ratio * total_steps) optimiser steps.
    """

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
        *,
        lr: Positive = 1e-3,
        weight_decay: NonNegative = 0.01,
        adam_betas: Betas = (0.9, 0.999),
        adam_epsilon: Positive = 1e-8,
        warmup_ratio: ProperFraction = 0.1,
        power: Positive = 1.0,
        min_lr_factor: ProperFraction = 0.0,
    ) -> None:
        """Create the optimiser for a run of `total_steps` optimiser steps.

        Args:
            lr: peak learning rate (default 1e-3).
            weight_decay: decoupled weight decay of weights; 1-D parameters and biases have none (default 0.01).
            adam_betas: decay rates of Adam's two averages (default [0.9, 0.999]).
            adam_epsilon: term added to Adam's denominator (default 1e-8).
            warmup_ratio: share of the optimiser steps over which the learning rate rises to its peak (default 0.1).
            power: exponent of the decay: 1 is linear, larger ones fall faster at first (default 1.0).
            min_lr_factor: learning rate that the decay ends at, as a share of the peak (default 0.0).
        """
        groups = parameter_groups(named_parameters, weight_decay, extra_groups)
        optimizer = torch.optim.AdamW(groups, lr=lr, betas=(adam_betas[0], adam_betas[1]), eps=adam_epsilon)
        warmup = int(warmup_ratio * total_steps)
        decay = partial(polynomial_decay, total=total_steps, warmup=warmup, power=power, end_factor=min_lr_factor)
        super().__init__(optimizer, decay)


@registry.optimizers.register
class AdamW(ScheduledOptimizer):
    """AdamW (decoupled weight decay) with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
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
        groups = parameter_groups(named_parameters, weight_decay, extra_groups)
        super().__init__(torch.optim.AdamW(groups, lr=lr, betas=(adam_betas[0], adam_betas[1]), eps=adam_epsilon))


@registry.optimizers.register
class Adam(ScheduledOptimizer):
    """Adam with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
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
        groups = parameter_groups(named_parameters, weight_decay, extra_groups)
        super().__init__(torch.optim.Adam(groups, lr=lr, betas=(adam_betas[0], adam_betas[1]), eps=adam_epsilon))


@registry.optimizers.register
class SGD(ScheduledOptimizer):
    """Stochastic gradient descent with a constant learning rate."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        total_steps: int,
        extra_groups: Groups = (),
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
        groups = parameter_groups(named_parameters, weight_decay, extra_groups)
        super().__init__(torch.optim.SGD(groups, lr=lr, momentum=momentum))
