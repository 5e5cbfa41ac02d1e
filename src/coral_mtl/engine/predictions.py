"""Norms of the losses' gradients at the predictions: the losses are differentiated, the network is not."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from coral_mtl.engine.rows import Row, harvest, seed
from coral_mtl.engine.terms import Term
from coral_mtl.errors import StrategyError

Predictions = Tensor | Iterable[Tensor] | Mapping[str, Tensor]


def prediction_squares(
    terms: Sequence[Term], predictions: Predictions | None, scale: float | Tensor
) -> dict[str, float]:
    """Return |dl_t/dP|^2 by task, with P all predictions together: a backward pass per loss, no further than P.

    Micro-batches have predictions of their own, so these squares add up: over k micro-batches, whose losses are divided
    by k, to the square of one batch k times as large.

    Raises:
        StrategyError: there are no predictions, or a loss does not depend on them.
    """
    tensors = _differentiable(predictions)
    squares = {}
    for term in terms:
        if term.root is None:
            continue
        row = harvest(tensors, [term], [seed(term, scale)], retain_graph=True, only=True)
        if not row:
            raise StrategyError(
                f"the loss of task {term.name!r} does not depend on the predictions: are they a detached copy?\n"
                "    give backward(losses, predictions=...) the very tensors that the losses were computed from"
            )
        squares[term.name] = _square(row)
    unscaled = torch.stack(list(squares.values())) / scale**2
    return dict(zip(squares, unscaled.tolist(), strict=True))


def _square(row: Row) -> Tensor:
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in row.values()]
    return torch.stack(norms).square().sum()


def _differentiable(predictions: Predictions | None) -> list[Tensor]:
    """Return those predictions that carry a gradient."""
    if isinstance(predictions, Tensor):
        found: Iterable[Tensor] = [predictions]
    else:
        found = predictions.values() if isinstance(predictions, Mapping) else (predictions or ())
    tensors = [each for each in found if each.requires_grad]
    if not tensors:
        raise StrategyError(
            "this strategy looks at the losses' gradients at the predictions, and was given no prediction that carries "
            "a gradient\n    call engine.backward(losses, predictions=...) with what the model returned"
        )
    return tensors
