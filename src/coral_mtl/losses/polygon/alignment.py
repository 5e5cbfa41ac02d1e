"""Which vertex of the target belongs to which of the prediction, when a contour begins anywhere."""

import torch
from torch import Tensor

from coral_mtl.losses.polygon.pairs import PolygonPairs


def cyclically_aligned(pairs: PolygonPairs) -> PolygonPairs:
    """Return the pairs with each target begun at the vertex, and run in the direction, of least squared distance.

    All rotations of the valid vertices are tried, forwards and backwards: 2 V of them, in memory N 2V V. The choice has
    no gradient.
    """
    orders = _rotations(pairs.count, pairs.target.shape[1])  # (2V, V, N)
    offsets = pairs.prediction.detach()[:, :, None] - pairs.target.detach()[:, None]
    distances = offsets.square().sum(dim=0) * pairs.valid[:, None]  # (V, V, N), prediction by target
    costs = distances.expand(len(orders), -1, -1, -1).gather(2, orders[:, :, None]).sum(dim=(1, 2))
    best = costs.argmin(dim=0).expand(1, *pairs.target.shape[1:])
    order = orders.gather(0, best)  # (1, V, N)
    return pairs.with_target(pairs.target.gather(1, order.expand_as(pairs.target)))


def _rotations(count: Tensor, places: int) -> Tensor:
    """Return (2V, V, N), the place that every rotation takes each vertex from; places without a vertex stay."""
    place = torch.arange(places, device=count.device)
    forwards = place[:, None] + place
    backwards = place[:, None] - place
    rotated = torch.cat([forwards, backwards])[..., None] % count.clamp(min=1)
    return torch.where(place[:, None] < count, rotated, place[:, None])
