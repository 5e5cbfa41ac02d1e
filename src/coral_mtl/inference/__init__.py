"""From a model and images of any size to predictions of that size."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from coral_mtl.inference.sliding_window import SlidingWindow
from coral_mtl.inference.whole_image import WholeImage

__all__ = ["Inference", "SlidingWindow", "WholeImage"]

Inference = Callable[[nn.Module, Tensor], Mapping[str, Tensor]]
"""How a model is given a batch of inputs; returns its predictions by task."""
