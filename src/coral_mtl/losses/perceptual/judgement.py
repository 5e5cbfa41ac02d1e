"""Losses of a choice between two images, for votes h: the share of the judges who chose the second one.

With G the logit of the second image's being chosen (see `comparison`), all return (N,) losses. Votes of several judges
are soft, such as 0, 1/2 and 1 with two of them. `entropy_floor` is what `cross_entropy` cannot fall below.
"""

import torch
from torch import Tensor
from torch.nn import functional

from coral_mtl.errors import DataError
from coral_mtl.losses.elements import power_of_doubt


def smoothed(votes: Tensor, amount: float) -> Tensor:
    """Return h (1 - amount) + amount / 2."""
    return votes * (1.0 - amount) + amount / 2.0


def cross_entropy(logits: Tensor, votes: Tensor) -> Tensor:
    """Return log(1 + exp(G)) - h G, with the gradient sigmoid(G) - h: proper for soft votes, finite for all G."""
    return functional.binary_cross_entropy_with_logits(logits, _checked(votes, logits), reduction="none")


def entropy_floor(votes: Tensor) -> Tensor:
    """Return -h log h - (1 - h) log(1 - h), the lowest cross-entropy for these votes."""
    return torch.special.entr(votes) + torch.special.entr(1.0 - votes)


def brier(logits: Tensor, votes: Tensor) -> Tensor:
    """Return (sigmoid(G) - h)^2: proper, and bounded."""
    return (torch.sigmoid(logits) - _checked(votes, logits)).square()


def hinge(logits: Tensor, votes: Tensor, *, margin: float = 1.0) -> Tensor:
    """Return max(0, margin - (2h - 1) G); split votes give a constant without a gradient."""
    return (margin - (2.0 * _checked(votes, logits) - 1.0) * logits).clamp(min=0.0)


def ranking(first: Tensor, second: Tensor, votes: Tensor, *, margin: float = 0.0) -> Tensor:
    """Return h max(0, margin + d1 - d0) + (1 - h) max(0, margin + d0 - d1) of the distances themselves.

    The image that was chosen should be the nearer one by the margin, in units of distance.
    """
    votes = _checked(votes, first)
    lead = second - first
    return votes * (margin + lead).clamp(min=0.0) + (1.0 - votes) * (margin - lead).clamp(min=0.0)


def focal(logits: Tensor, votes: Tensor, *, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """Return alpha_t (1 - p_t)^gamma times the cross-entropy (Lin et al. 2017, equation 5).

    p_t = h p + (1 - h)(1 - p) and alpha_t = h alpha + (1 - h)(1 - alpha), with p = sigmoid(G); alpha_t is 1 where alpha
    is None. For hard votes only: for soft ones it is not a proper scoring rule, and its minimum is not at p = h.
    """
    losses = cross_entropy(logits, votes)
    missed = votes * torch.sigmoid(-logits) + (1.0 - votes) * torch.sigmoid(logits)
    balance = 1.0 if alpha is None else votes * alpha + (1.0 - votes) * (1.0 - alpha)
    return balance * power_of_doubt(missed, gamma) * losses


def _checked(votes: Tensor, like: Tensor) -> Tensor:
    if votes.shape != like.shape or bool((votes < 0.0).any()) or bool((votes > 1.0).any()):
        raise DataError(f"votes are {tuple(like.shape)} shares from 0 to 1 of the judges who chose the second image")
    return votes.to(like.dtype)
