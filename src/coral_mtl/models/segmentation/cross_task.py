"""Cross-task attention: what a primary task reads in the features of the other tasks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from coral_mtl.errors import ConfigError

HEADS = 4
WINDOW = 8
"""Cells a side of a window: 32 pixels, so that the maps of padded images divide into them."""
POOL = 2
"""Cells a side that one key and value are the mean of."""
KEYS = (WINDOW // POOL) ** 2


class CrossTaskAttention(nn.Module):
    """Features of one task, refined by those of S other tasks in the same window of 8 x 8 cells.

    With x the (64, d) features of the task in a window, and y the (16 S, d) means over 2 x 2 cells of those of the
    other tasks there, each plus a learned vector e_s of its task,

        x + W_o softmax((W_q x) (W_k y)^T / sqrt(d/4) + B) W_v y

    with four heads of d/4 channels (Vaswani et al. 2017) and a learned B of each head, cell and key, the same for all
    tasks, which says how near a key is. Windows bound the memory: it grows with the number of pixels, not with its
    square.
    """

    def __init__(self, sources: int, width: int) -> None:
        """Build the attention of d = `width` channels to S = `sources` tasks.

        Raises:
            ConfigError: the channels do not divide among the heads.
        """
        super().__init__()
        if width % HEADS:
            raise ConfigError(
                f"attention_dim {width} does not divide among {HEADS} heads\n    take a multiple of {HEADS}",
                option="attention_dim",
            )
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.source = nn.Parameter(torch.randn(sources, 1, width) * 0.02)
        self.nearness = nn.Parameter(torch.zeros(HEADS, WINDOW**2, KEYS))

    def forward(self, own: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Return the refined features.

        Args:
            own: (N, d, h, w) features of the task, with h and w multiples of 8.
            others: S maps (N, d, h/2, w/2) of the other tasks, each the mean over 2 x 2 cells (see `pooled`).
        """
        cells = _windows(own, WINDOW)
        keys = torch.stack([_windows(other, WINDOW // POOL) for other in others], dim=1) + self.source
        keys = keys.flatten(1, 2)
        read = functional.scaled_dot_product_attention(
            _heads(self.query(cells)),
            _heads(self.key(keys)),
            _heads(self.value(keys)),
            attn_mask=self.nearness.repeat(1, 1, len(others)).to(cells.dtype),
        )
        return own + _map(self.out(read.transpose(1, 2).flatten(2)), own.shape)


def pooled(features: Tensor) -> Tensor:
    """Return the means over 2 x 2 cells."""
    return functional.avg_pool2d(features, POOL)


def _windows(features: Tensor, side: int) -> Tensor:
    """Take (N, d, h, w) apart into (N windows, side^2, d)."""
    batch, width, height, breadth = features.shape
    split = features.view(batch, width, height // side, side, breadth // side, side)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(-1, side**2, width)


def _map(cells: Tensor, shape: torch.Size) -> Tensor:
    """Put the windows of `WINDOW` cells a side back together to a map of `shape`."""
    batch, width, height, breadth = shape
    split = cells.view(batch, height // WINDOW, breadth // WINDOW, WINDOW, WINDOW, width)
    return split.permute(0, 5, 1, 3, 2, 4).reshape(shape)


def _heads(cells: Tensor) -> Tensor:
    """Take (windows, cells, d) apart into (windows, HEADS, cells, d / HEADS)."""
    return cells.unflatten(2, (HEADS, -1)).transpose(1, 2)
