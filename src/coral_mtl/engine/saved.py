"""How much of a forward pass is kept for the backward pass."""

from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn


class SavedBytes:
    """A context in which the bytes that autograd keeps are counted, each storage once, those of the model left out."""

    def __init__(self, model: nn.Module) -> None:
        """Take the model whose parameters and buffers are there anyway."""
        self._known = {_key(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor)
        self.total = 0

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, problem, trace)

    def _count(self, tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided and _key(tensor) not in self._known:
            self._known.add(_key(tensor))
            self.total += tensor.untyped_storage().nbytes()
        return tensor


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
