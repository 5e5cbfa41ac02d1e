"""Cross-entropy of pixels, and its focal form."""

import torch
from torch import Tensor

from coral_mtl.losses.elements import power_of_doubt
from coral_mtl.losses.segmentation.pixels import Pixels, mean_over


def focal(pixels: Pixels, *, gamma: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
    """Return sum_x w_y (1 - p_y)^gamma (-log p_y) / sum_x w_y over the pixels x that count, y being their labels.

    gamma = 0 is the cross-entropy (Lin et al. 2017, Focal Loss for Dense Object Detection, equation 4; their alpha_t is
    w_y). 1 - p_y is taken from log p_y without cancellation. 0 where no pixel counts.

    Args:
        pixels: predictions and labels.
        gamma: 0 or above; how much less pixels count that are right already.
        class_weights: (C,) w, 0 or above (default: all 1).
    """
    losses = -pixels.of_labels
    if gamma > 0.0:
        losses = power_of_doubt(-torch.expm1(pixels.of_labels), gamma) * losses
    weights = pixels.counted
    if class_weights is not None:
        weights = weights * class_weights.to(losses)[pixels.target]
    return mean_over(weights, losses)
