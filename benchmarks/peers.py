"""How others get a multi-task gradient: the ways that benchmarks/engine.py compares with.

TorchJD is run as it is installed. The loops of LibMTL and of the official Nash-MTL code are written anew here from what
they do: which passes they run, on which tensors, and what they copy. All but TorchJD's NashMTL form the weights of
`equal_norms` from the Gram matrix, so that only the ways to the gradients differ.
"""

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from nets import Problem
from torch import Tensor

Backward = Callable[[Problem, dict[str, Tensor], Tensor], None]
"""Fills `.grad` of all parameters, from the losses and the shared features."""

MISSING = [name for name in ("torchjd", "ecos") if find_spec(name) is None]
"""Packages without which TorchJD, or its NashMTL, cannot be compared with."""


def equal_norms(gram: Tensor) -> Tensor:
    """w_t = 1 / |g_t|, scaled to the sum T: as cheap as weights from a Gram matrix can be."""
    weights = gram.diagonal().rsqrt()
    return weights * (len(weights) / weights.sum())


def libmtl_loop(problem: Problem, losses: dict[str, Tensor], _: Tensor) -> None:
    """LibMTL's trainer: losses written into one tensor, a backward for each, rows copied into a (T, D) matrix.

    Every entry of that tensor depends on all heads, so every pass runs all heads.
    """
    shared = list(problem.trunk.parameters())
    values = torch.zeros(len(losses), device=problem.inputs.device)
    for task, loss in enumerate(losses.values()):
        values[task] = loss
    rows = values.new_zeros(len(losses), problem.shared_size())
    for task in range(len(losses)):
        values[task].backward(retain_graph=task + 1 < len(losses))
        rows[task] = torch.cat([_given(p).reshape(-1) for p in shared])
        for parameter in shared:
            parameter.grad = None
    direction = equal_norms(rows @ rows.T) @ rows
    for parameter, part in zip(shared, _split(direction, shared), strict=True):
        parameter.grad = part


def official_nash(problem: Problem, losses: dict[str, Tensor], _: Tensor) -> None:
    """The authors' Nash-MTL: stacked losses, `autograd.grad` for each, then one more backward of the weighted sum."""
    shared = list(problem.trunk.parameters())
    values = torch.stack(list(losses.values()))
    rows = [torch.autograd.grad(value, shared, retain_graph=True) for value in values]
    matrix = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    weights = equal_norms(matrix @ matrix.T)
    sum(value * weight for value, weight in zip(values, weights, strict=True)).backward()


def torchjd(chunk: int | None) -> Backward:
    """TorchJD's `mtl_backward`, by default all tasks at once with vmap; one after the other with `chunk=1`."""
    from torchjd.aggregation import GramianWeightedAggregator, Weighting  # noqa: PLC0415 - optional

    class EqualNorms(Weighting):
        def forward(self, stat: Tensor, /) -> Tensor:
            return equal_norms(stat)

    return torchjd_with(GramianWeightedAggregator(EqualNorms()), chunk)


def torchjd_nash(tasks: int, every: int, chunk: int | None) -> Backward:
    """TorchJD's NashMTL, which solves at one step in `every`."""
    from torchjd.aggregation import NashMTL  # noqa: PLC0415 - optional

    warnings.filterwarnings("ignore", message="You are solving a parameterized problem")  # cvxpy, at every solve
    return torchjd_with(NashMTL(n_tasks=tasks, max_norm=0.0, update_weights_every=every), chunk)


def torchjd_with(aggregator: object, chunk: int | None) -> Backward:
    """TorchJD with any of its aggregators."""
    from torchjd.autojac import jac_to_grad, mtl_backward  # noqa: PLC0415 - optional

    def backward(problem: Problem, losses: dict[str, Tensor], features: Tensor) -> None:
        mtl_backward(list(losses.values()), features=features, parallel_chunk_size=chunk)
        jac_to_grad(problem.trunk.parameters(), aggregator)

    return backward


def _given(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _split(direction: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    parts = direction.split([parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]
