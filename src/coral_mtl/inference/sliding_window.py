"""Predictions for large images, window by window, with the overlaps blended."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from coral_mtl import registry
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.options import PositiveInt


@registry.inference.register
class SlidingWindow:
    """Gives the model square windows of the images and blends their logits where the windows overlap.

    The prediction at a pixel is sum_k w_k z_k / sum_k w_k over the windows k that hold it, of the logits z_k. The
    weight falls from the middle of a window to its edge, where a model sees least around a pixel: it is a_i a_j at row
    i and column j, with a_i = min(i + 1, n - i) for i = 0 ... n - 1, in a window of n pixels a side. That is positive
    everywhere, so that every pixel has a prediction, whatever the stride.

    Averaging logits is averaging probabilities geometrically. It is linear, so a model without any context gives
    exactly what it gives for the whole image, and it serves regressions as well.

    Windows begin every `stride` pixels, and the last one ends with the image. Along a side on which the image is
    shorter than the window, the window is as long as the image. Memory holds the result, in float32 at least, and one
    batch of windows.
    """

    def __init__(
        self, *, window: PositiveInt = 512, stride: PositiveInt | None = None, batch_size: PositiveInt = 4
    ) -> None:
        """Keep the sizes.

        Args:
            window: side of a window, in pixels (default 512).
            stride: pixels from one window to the next; null takes half of `window` (default null).
            batch_size: windows that the model gets at once (default 4).

        Raises:
            ConfigError: the stride is larger than the window, which would leave pixels out.
        """
        self.window = window
        self.stride = max(1, window // 2) if stride is None else stride
        self.batch_size = batch_size
        if self.stride > window:
            raise ConfigError(
                f"a stride of {stride} pixels leaves gaps between windows of {window}\n    take {window} or less",
                option="stride",
            )

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Return predictions {task: (N, C, H, W)} for images (N, 3, H, W) of any size.

        Raises:
            DataError: the model does not predict one value or more for each pixel of a window.
        """
        rows, columns = (_Axis.cut(size, self.window, self.stride) for size in images.shape[-2:])
        weights = torch.outer(rows.weights, columns.weights).to(images.device)
        places = list(product(range(len(images)), rows.slices, columns.slices))
        sums: dict[str, Tensor] = {}
        for first in range(0, len(places), self.batch_size):
            batch = places[first : first + self.batch_size]
            predictions = model(torch.stack([images[image, :, row, column] for image, row, column in batch]))
            for task, values in predictions.items():
                _check(task, values, (len(batch), *weights.shape))
                if task not in sums:
                    dtype = torch.promote_types(values.dtype, torch.float32)
                    shape = (len(images), values.size(1), *images.shape[-2:])
                    sums[task] = torch.zeros(shape, dtype=dtype, device=values.device)
                for (image, row, column), value in zip(batch, values, strict=True):
                    sums[task][image, :, row, column] += value * weights
        totals = torch.outer(rows.totals, columns.totals).to(images.device)
        return {task: sum_.div_(totals) for task, sum_ in sums.items()}


@dataclass(frozen=True, slots=True)
class _Axis:
    """The windows along one side of the images: where they are, their weights, and the sum of these at each pixel."""

    slices: list[slice]
    weights: Tensor
    totals: Tensor

    @classmethod
    def cut(cls, size: int, window: int, stride: int) -> "_Axis":
        length = min(window, size)
        slices = [slice(start, start + length) for start in [*range(0, size - length, stride), size - length]]
        weights = torch.minimum(torch.arange(length) + 1, length - torch.arange(length)).float()
        totals = torch.zeros(size)
        for each in slices:
            totals[each] += weights
        return cls(slices, weights, totals)


def _check(task: str, values: Tensor, expected: tuple[int, int, int]) -> None:
    if values.ndim != 4 or (len(values), *values.shape[-2:]) != expected:
        raise DataError(
            f"the model predicts {tuple(values.shape)} for the task {task!r} in {expected[0]} windows of "
            f"{expected[1]} x {expected[2]} pixels, and not (windows, classes, height, width)\n"
            "    take a model that predicts every pixel, or give it the whole images"
        )
