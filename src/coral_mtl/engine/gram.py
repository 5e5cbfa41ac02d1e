"""Inner products of gradients: float32 tiles, summed up in float64, on the gradients' own devices."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coral_mtl.engine.arriving import fetch
from coral_mtl.engine.rows import Row
from coral_mtl.errors import StrategyError

TILE = 1 << 21
"""Most entries of one tile on a CPU: it stays in the cache between its filling and its product."""

LARGE_TILE = 1 << 24
"""Most entries of one tile elsewhere, where an operation costs the same for few as for many."""

SMALL_TILE = 1 << 17
"""Entries that a tile may have whatever the rows' size."""

SHARE = 24
"""The rows hold this many times the entries of a larger tile, whose memory is then hardly felt."""

STRIP = 1 << 10
"""Coordinates that are summed up in the tile's own type, before float64 takes over: the shorter, the more exact."""

PRECISION = {torch.float64: 1e-15, torch.float32: 1e-7}
HALF_PRECISION = 1e-6
"""Bound on the rounding error of a Gram entry M_st relative to n_s n_t, by the type of the gradients."""

BAND = 16
"""Rows that are multiplied with all before them at once: what lies above the diagonal is mostly left out."""

Block = tuple[tuple[int, ...], Tensor]
"""Tasks, and the inner products of their gradients on parameters that all of these tasks reach, on a device."""


def gram_matrix(rows: Sequence[Row], parameters: Iterable[Tensor]) -> tuple[np.ndarray, float]:
    """Return M_st = <g_s, g_t> over `parameters`, (T, T) float64, and the relative rounding error of its entries.

    Gradients so small or large that their squares leave the range of float32 are multiplied in float64.
    """
    chosen = list(parameters)
    blocks, precision = gram_blocks(rows, chosen)
    gram = assembled(blocks, fetch([products for _, products in blocks]), len(rows))
    return (wide_gram_matrix(rows, chosen) if left_float32(gram, precision) else gram), precision


def wide_gram_matrix(rows: Sequence[Row], parameters: Iterable[Tensor]) -> np.ndarray:
    """Return the Gram matrix from products in float64."""
    blocks, _ = gram_blocks(rows, parameters, torch.float64)
    return assembled(blocks, fetch([products for _, products in blocks]), len(rows))


def gram_blocks(
    rows: Sequence[Row], parameters: Iterable[Tensor], tile_type: torch.dtype = torch.float32
) -> tuple[list[Block], float]:
    """Return the parts of a Gram matrix, still on their devices, and the relative rounding error of its entries."""
    groups = _groups(rows, parameters)
    blocks = [
        (reached, _products_of(columns, torch.float64 if dtype is torch.float64 else tile_type))
        for (_, dtype, reached), columns in groups.items()
    ]
    return blocks, max((PRECISION.get(dtype, HALF_PRECISION) for _, dtype, _ in groups), default=0.0)


def assembled(blocks: Iterable[Block], values: Iterable[np.ndarray], tasks: int) -> np.ndarray:
    """Return the (T, T) sum of blocks whose values have come to the host, symmetric to the last bit."""
    gram = np.zeros((tasks, tasks))
    for (reached, _), products in zip(blocks, values, strict=True):
        gram[np.ix_(reached, reached)] += products
    return (gram + gram.T) / 2


def left_float32(gram: np.ndarray, precision: float) -> bool:
    """Whether a squared norm is beyond float32, or so small that the squares of its coordinates may have vanished."""
    squares = np.diag(gram)
    return precision > PRECISION[torch.float64] and not ((squares >= 1e-24) & np.isfinite(squares)).all()


def inner_products(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Return <left_s, right_t> for two equally long lists of tensors of one shape, on their device.

    It is as exact as `gram_matrix`.
    """
    total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left[0].device)
    sides = ([[x.reshape(-1)] for x in side] for side in (left, right))
    for ours, theirs in zip(*(_tiles(side, left[0].dtype) for side in sides), strict=True):
        total += _product(ours, theirs)
    return total


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Run products of float32 in float32: without autocast, and without the TF32 or bfloat16 that a user may allow."""
    products: Any = getattr(torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn, "matmul", None)
    allowed = getattr(products, "fp32_precision", None)
    autocast = torch.amp.is_autocast_available(device.type)
    try:
        if allowed is not None:
            products.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False) if autocast else nullcontext():
            yield
    finally:
        if allowed is not None:
            products.fp32_precision = allowed


Group = tuple[torch.device, torch.dtype, tuple[int, ...]]


def _groups(rows: Sequence[Row], parameters: Iterable[Tensor]) -> dict[Group, list[list[Tensor]]]:
    """Sort parameters by device, type and the tasks that reach them: one list of gradients per task and group."""
    found: dict[Group, list[Tensor]] = {}
    for parameter in parameters:
        reached = tuple([task for task, row in enumerate(rows) if parameter in row])
        if reached:
            gradient = rows[reached[0]][parameter]
            found.setdefault((gradient.device, gradient.dtype, reached), []).append(parameter)
    return {
        group: [[_flat(rows[task][parameter]) for parameter in chosen] for task in group[2]]
        for group, chosen in found.items()
    }


def _flat(gradient: Tensor) -> Tensor:
    """View a gradient as a vector in memory order, which all rows of a parameter share (autograd's layout contract)."""
    if gradient.layout is not torch.strided:
        raise StrategyError(
            "a shared parameter has a sparse gradient, which gradient strategies cannot combine\n"
            "    build its embedding with sparse=False"
        )
    if gradient.is_complex():
        gradient = torch.view_as_real(gradient)
    if not gradient.is_contiguous():
        order = sorted(range(gradient.ndim), key=gradient.stride, reverse=True)
        gradient = gradient.permute(order)
    return gradient.reshape(-1)


def _products_of(columns: Sequence[Sequence[Tensor]], tile_type: torch.dtype) -> Tensor:
    device, tasks = columns[0][0].device, len(columns)
    total = torch.zeros(tasks, tasks, dtype=torch.float64, device=device)
    with full_precision(device):
        for tile in _tiles(columns, tile_type):
            for first in range(0, tasks, BAND):
                last = first + BAND
                total[first:last, :last] += _product(tile[first:last], tile[:last])
    return total.tril() + total.tril(-1).T


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right.T in float64, from products over strips of their columns."""
    return torch.bmm(_strips(left), _strips(right).mT).sum(0, dtype=torch.float64)


def _strips(tile: Tensor) -> Tensor:
    return tile.view(len(tile), -1, STRIP).transpose(0, 1)


def _tiles(columns: Sequence[Sequence[Tensor]], tile_type: torch.dtype) -> Iterator[Tensor]:
    """Cut (T columns of) vectors into matrices of T rows and at most a tile's columns: small ones joined, big ones cut.

    Zeros fill the last strip up. All are the same memory, to be used before the next one is asked for: taking new
    memory for each from the system costs more than the products.
    """
    largest = TILE if columns[0][0].device.type == "cpu" else LARGE_TILE
    lengths = [vector.numel() for vector in columns[0]]
    entries = min(largest, max(SMALL_TILE, sum(lengths) * len(columns) // SHARE))
    room = _whole_strips(max(1, min(entries // len(columns), sum(lengths))))
    memory = columns[0][0].new_empty(len(columns) * room, dtype=tile_type)
    for pieces in _pieces(lengths, room):
        width = sum(stop - start for _, start, stop in pieces)
        padded = _whole_strips(width)
        tile = memory[: len(columns) * padded].view(len(columns), padded)
        if padded > width:
            tile[:, width:] = 0
        for row, column in zip(tile[:, :width], columns, strict=True):
            cut = [_part(column[index], start, stop) for index, start, stop in pieces]
            row.copy_(cut[0]) if len(cut) == 1 else torch.cat(cut, out=row)
        yield tile


def _whole_strips(columns: int) -> int:
    return -(-columns // STRIP) * STRIP


def _part(vector: Tensor, start: int, stop: int) -> Tensor:
    return vector if stop - start == vector.numel() else vector[start:stop]


def _pieces(lengths: Sequence[int], tile: int) -> Iterator[list[tuple[int, int, int]]]:
    """Deal vectors of these lengths out to tiles: (vector, start, stop) of each piece of a tile."""
    pending: list[tuple[int, int, int]] = []
    room = tile
    for index, length in enumerate(lengths):
        if length >= tile:
            yield from ([(index, start, min(start + tile, length))] for start in range(0, length, tile))
            continue
        if length > room:
            yield pending
            pending, room = [], tile
        pending.append((index, 0, length))
        room -= length
    if pending:
        yield pending
