"""Strategies on plain Gram matrices, without a model: what would this method do with these gradients?"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.strategy import Strategy
from coral_mtl.errors import StrategyError
from coral_mtl.registry import strategies

Array = TypeVar("Array", np.ndarray, Tensor)

_DOUBLE, _SINGLE = float(np.finfo(np.float64).eps), 1e-6
"""Rounding errors of the entries of a Gram matrix in float64, and in any narrower type."""

_ASYMMETRY = 1e3
"""Rounding errors by which a Gram matrix may differ from its transpose, relative to the norms."""

_MORE = "\n    see: coral-mtl strategies show NAME, help(coral_mtl.solve)"


def solve(
    strategy: str | Strategy,
    gram: Array,
    *,
    losses: ArrayLike | Tensor | None = None,
    tasks: Sequence[str] | None = None,
    **options: object,
) -> Array:
    """Return the coefficients c of the strategy's direction d = sum_t c_t g_t, from the inner products of gradients.

    ```python
    weights = coral_mtl.solve("NashMTL", gradients @ gradients.T)
    ```

    The result has the shape, type and device of `gram` less its last dimension, and no autograd history; computing is
    done in float64. A strategy given by name starts afresh for every matrix of a batch, so that each result is that of
    the matrix alone; one given as an object takes the matrices as steps, one after the other.

    Args:
        strategy: a registered name, such as "NashMTL", or a strategy.
        gram: (..., T, T) inner products M_st = <g_s, g_t>, numpy or torch, floating point.
        losses: (..., T) loss values, for strategies that look at them.
        tasks: names of the tasks, for options that name them (default "0", "1", ...).
        options: the options of the strategy, where it is given by name.

    Raises:
        StrategyError: (a ValueError) for anything above that is not as described, and for a strategy that works on the
            coordinates of the gradients.
        UnknownNameError: no strategy has that name.
    """
    matrices, precision = _checked(gram)
    batch = matrices.reshape(-1, *matrices.shape[-2:])
    values = _losses(losses, matrices.shape[:-1]).reshape(-1, matrices.shape[-1])
    names = _names(tasks, matrices.shape[-1])
    chosen = _strategy(strategy, names, options)
    weights = np.empty(values.shape)
    for index, (matrix, row) in enumerate(zip(batch, values, strict=True)):
        if chosen is not strategy:
            chosen.reset()
        weights[index] = _decide(chosen, Observation(names, row, matrix, precision, step=index)).coefficients
    shaped = weights.reshape(matrices.shape[:-1])
    if isinstance(gram, Tensor):
        return torch.from_numpy(shaped).to(device=gram.device, dtype=gram.dtype)
    return shaped.astype(gram.dtype)


def decide(
    strategy: str | Strategy,
    gram: np.ndarray | Tensor,
    *,
    losses: ArrayLike | Tensor | None = None,
    tasks: Sequence[str] | None = None,
    **options: object,
) -> Decision:
    """Return the whole decision on one (T, T) Gram matrix: coefficients, the solver's outcome, the strategy's figures.

    The arguments and errors are those of `solve`.
    """
    matrix, precision = _checked(gram)
    if matrix.ndim != 2:
        raise StrategyError(f"decide takes one (T, T) matrix, not the shape {matrix.shape}: use solve for batches")
    names = _names(tasks, len(matrix))
    chosen = _strategy(strategy, names, options)
    return _decide(chosen, Observation(names, _losses(losses, matrix.shape[:1]), matrix, precision))


def _strategy(strategy: str | Strategy, names: Sequence[str], options: dict[str, object]) -> Strategy:
    if isinstance(strategy, Strategy):
        if options:
            raise StrategyError(
                f"options {sorted(options)} have no effect beside a {type(strategy).__name__} object: give them where "
                "it is built, or give its name instead of it"
            )
        chosen = strategy
    elif isinstance(strategy, str):
        chosen = strategies.get(strategy)(**options)
    else:
        raise StrategyError(f"strategy must be a name or a Strategy, not {strategy!r}{_MORE}")
    if chosen.needs is Needs.ROWS or chosen.batches > 1:
        raise StrategyError(
            f"{type(chosen).__name__} works on the coordinates of the gradients, which a Gram matrix does not have\n"
            "    use it with coral_mtl.Engine, or take a strategy that works on the Gram matrix"
        )
    chosen.bind(names)
    return chosen


def _decide(strategy: Strategy, observation: Observation) -> Decision:
    """Ask the strategy; losses that were not given are NaN, which shows where they were read."""
    known = bool(np.isfinite(observation.losses).all())
    try:
        with np.errstate(invalid="warn" if known else "ignore"):
            decision = strategy.decide(observation)
    except np.linalg.LinAlgError:
        if known:
            raise
        decision = Decision(observation.losses)
    if not known and not np.isfinite(decision.coefficients).all():
        raise StrategyError(f"{type(strategy).__name__} looks at the losses: give losses=, one per task{_MORE}")
    return decision


def _checked(gram: np.ndarray | Tensor) -> tuple[np.ndarray, float]:
    """Return the matrices in float64, exactly symmetric, and the relative rounding error of their entries."""
    if isinstance(gram, Tensor):
        floating, wide = gram.is_floating_point(), gram.dtype == torch.float64
    elif isinstance(gram, np.ndarray):
        floating, wide = np.issubdtype(gram.dtype, np.floating), gram.dtype.itemsize >= 8
    else:
        raise StrategyError(f"gram must be a numpy array or a torch tensor, not {type(gram).__name__}{_MORE}")
    if not floating:
        raise StrategyError(f"gram must be of a floating-point type, not {gram.dtype}{_MORE}")
    matrices = _float64(gram)
    shape = matrices.shape
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] == 0:
        raise StrategyError(f"gram must have the shape (..., T, T) with T >= 1, not {shape}{_MORE}")
    precision = _DOUBLE if wide else _SINGLE
    transposed = np.swapaxes(matrices, -1, -2)
    _require_gram(matrices, transposed, precision)
    return 0.5 * (matrices + transposed), precision


def _require_gram(matrices: np.ndarray, transposed: np.ndarray, precision: float) -> None:
    if not np.isfinite(matrices).all():
        place = np.argwhere(~np.isfinite(matrices))[0]
        raise StrategyError(f"gram{place.tolist()} is {matrices[tuple(place)]}: all entries must be finite{_MORE}")
    squares = np.diagonal(matrices, axis1=-2, axis2=-1)
    if (squares < 0.0).any():
        place = np.argwhere(squares < 0.0)[0]
        task, value = place[-1], squares[tuple(place)]
        raise StrategyError(f"gram has {value:g} as the square of the norm of task {task}: give G @ G.T{_MORE}")
    norms = np.sqrt(squares)
    bounds = norms[..., :, None] * norms[..., None, :]
    long = np.abs(matrices) > (1.0 + _ASYMMETRY * precision) * bounds
    if long.any():
        place = np.argwhere(long)[0]
        value, bound = matrices[tuple(place)], bounds[tuple(place)]
        raise StrategyError(
            f"gram{place.tolist()} is {value:g}, but gradients of these norms have an inner product of {bound:g} at "
            f"most: give G @ G.T{_MORE}"
        )
    differences = np.abs(matrices - transposed)
    uneven = differences > _ASYMMETRY * precision * bounds
    if uneven.any():
        place = np.argwhere(uneven)[0]
        ours, theirs = matrices[tuple(place)], transposed[tuple(place)]
        raise StrategyError(f"gram{place.tolist()} is {ours:g} and its transpose there {theirs:g}: give G @ G.T{_MORE}")


def _losses(losses: ArrayLike | Tensor | None, shape: tuple[int, ...]) -> np.ndarray:
    if losses is None:
        return np.full(shape, np.nan)
    values = _float64(losses)
    if values.shape != shape or not np.isfinite(values).all():
        raise StrategyError(f"losses must be finite and of the shape {shape}, not {values}{_MORE}")
    return values


def _names(tasks: Sequence[str] | None, count: int) -> tuple[str, ...]:
    names = tuple(map(str, range(count))) if tasks is None else tuple(tasks)
    if len(set(names)) != count:
        raise StrategyError(f"tasks must be {count} different names, not {list(names)}{_MORE}")
    return names


def _float64(values: ArrayLike | Tensor) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().double().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
