"""The number format of the forward pass, and the loss scaling that float16 needs."""

from typing import Literal

import torch
from torch import Tensor

NumberFormat = Literal["float32", "bfloat16", "float16"]


class Precision:
    """Autocast to one format on one device, with a GradScaler for float16, whose range is too small for gradients."""

    def __init__(self, device: torch.device, number_format: NumberFormat) -> None:
        self._device = device
        self._dtype: torch.dtype = getattr(torch, number_format)
        self.scaler = torch.amp.GradScaler(device.type) if number_format == "float16" else None

    def autocast(self) -> torch.autocast:
        """The context in which the model and the loss run."""
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype is not torch.float32)

    def scale(self, term: Tensor) -> Tensor:
        """Multiply a term of the loss with what `unscale` takes off again."""
        return term if self.scaler is None else self.scaler.scale(term)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring `.grad` to its true size, for clipping."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimiser's step, unless the scaler finds an overflow, which lowers the scale instead."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
