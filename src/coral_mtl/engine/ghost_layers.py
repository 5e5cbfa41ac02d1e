"""Linear layers and convolutions as ghost rows see them: Y = X W', with N positions, d_in and d_out channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.grad import conv2d_weight

PANEL = 256
"""Positions whose products with all behind them are formed at once."""

UPKEEP = 50
"""What a stored coordinate costs once it is there: it is written, multiplied for the Gram matrix and combined."""

EASE = {nn.Linear: 1.0, nn.Conv2d: 0.5}
"""What a multiplication in a layer's own weight gradient costs, in those of a large matrix product."""

HANDLING = 8_000_000
"""What hooks and book-keeping of a ghost layer cost for each task, whatever its size.

UPKEEP, EASE and HANDLING were measured on one core (AMD, MKL and oneDNN) with the networks of benchmarks/nets.py.
"""

Layer = nn.Linear | nn.Conv2d


@dataclass(slots=True)
class Call:
    """One call of a layer: what went in, and the node of the graph that made what came out."""

    inputs: Tensor
    version: int
    node: Node
    output_type: torch.dtype

    @property
    def intact(self) -> bool:
        """Whether nobody changed the input in place since."""
        return self.inputs._version == self.version


def is_candidate(module: nn.Module) -> TypeGuard[Layer]:
    """Whether ghost rows are possible for such a layer."""
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


def saving(module: Layer, count: int, tasks: int) -> float:
    """What ghost rows save with N = `count`, in multiplications of large products; negative where they cost more."""
    d_out, d_in = module.weight.shape[0], module.weight[0].numel()
    ease, size = EASE[type(module)], d_in * d_out
    products = count * (count + min(count, PANEL)) / 2
    handling = tasks * HANDLING * torch.get_num_threads()  # done by one thread, unlike multiplications
    ghost = products * (d_in + tasks * d_out) + ease * count * size + handling
    return tasks * (ease * count + UPKEEP) * size - ghost


def described(module: Layer, count: int) -> str:
    """What decides about a layer, in words."""
    return f"{count} positions, a {module.weight.shape[0]} x {module.weight[0].numel()} weight"


def positions(module: Layer, calls: Sequence[Call]) -> int:
    """N, over all calls of a layer."""
    return sum(positions_of(module, call.inputs) for call in calls)


def positions_of(module: Layer, inputs: Tensor) -> int:
    """N of one call."""
    if isinstance(module, nn.Linear):
        return inputs.numel() // module.in_features
    padding = _padding(module)
    sizes = zip(inputs.shape[-2:], module.kernel_size, module.stride, padding, module.dilation, strict=True)
    height, width = ((size + 2 * pad - hole * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, hole in sizes)
    return inputs.shape[0] * height * width


def unfold(module: Layer, inputs: Tensor) -> Tensor:
    """X: (N, d_in)."""
    if isinstance(module, nn.Linear):
        return inputs.reshape(-1, module.in_features)
    columns = nn.functional.unfold(inputs, module.kernel_size, module.dilation, _padding(module), module.stride)
    return columns.transpose(1, 2).flatten(0, 1)


def flat_outputs(module: Layer, gradient: Tensor) -> Tensor:
    """dY: (N, d_out), its rows in the order of `unfold`."""
    if isinstance(module, nn.Linear):
        return gradient.reshape(-1, module.out_features)
    return gradient.flatten(2).transpose(1, 2).flatten(0, 1)


def half_kernel_products(x: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
    """H dY_t for every task, (N, d_out), with H + H' = X X'."""
    products: list[list[Tensor]] = [[] for _ in outputs]
    for start in range(0, len(x), PANEL):
        panel = x[start : start + PANEL] @ x[start:].T
        panel[:, :PANEL] /= 2  # what lies on both sides of the diagonal
        for parts, output in zip(products, outputs, strict=True):
            parts.append(panel @ output[start:])
    return [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in products]


def weight_gradient(module: Layer, inputs: Tensor, gradient: Tensor) -> Tensor:
    """dW = dY' X."""
    if isinstance(module, nn.Linear):
        return flat_outputs(module, gradient).T @ unfold(module, inputs)
    return conv2d_weight(inputs, module.weight.shape, gradient, module.stride, _padding(module), module.dilation)


def _padding(module: nn.Conv2d) -> tuple[int, int]:
    height, width = (int(pad) for pad in module.padding)  # numbers: is_candidate leaves out "same" and "valid"
    return height, width
