"""Dice loss over the classes that a batch shows."""

import torch
from torch import Tensor

from coral_mtl.losses.segmentation.pixels import Pixels, mean_over


def dice(pixels: Pixels, *, smooth: float = 1.0) -> Tensor:
    """Return 1 - mean_c D_c over the classes c that one pixel or more of the batch is labelled with, where

        D_c = (2 sum_x p_c [y = c] + s) / (sum_x p_c + sum_x [y = c] + s),    s = `smooth`, in pixels,

    and x runs over the pixels of the whole batch that count (Milletari et al. 2016, V-Net, equation 2, there with
    squares below; Sudre et al. 2017 for several classes). Classes that the batch does not show have no overlap to
    improve and are left out; what is wrongly predicted as one of them costs p of the classes that are there. In [0, 1);
    0 where no pixel counts.

    It is a ratio of sums over the batch: accumulated micro-batches give the mean of their own losses, which is not
    exactly the loss of the large batch.
    """
    label_count = pixels.sums_by_class(torch.ones_like(pixels.counted))
    common = pixels.sums_by_class(pixels.of_labels.exp())
    sizes = predicted_sizes(pixels) + label_count
    shown = label_count > 0
    losses = 1.0 - (2.0 * common + smooth) / torch.where(shown, sizes + smooth, 1.0)
    return mean_over(shown.to(losses.dtype), losses)


def predicted_sizes(pixels: Pixels) -> Tensor:
    """Return (C,), sum_x p_c over the pixels that count."""
    p = pixels.log_probabilities.exp()
    with torch.autocast(p.device.type, enabled=False):  # which would round the sums to half precision
        return torch.bmm(p.flatten(2), pixels.counted.flatten(1).unsqueeze(2)).sum(dim=(0, 2))
