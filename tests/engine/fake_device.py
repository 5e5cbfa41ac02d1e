"""A device that is none: tensors compute on the CPU, and every copy that comes back to the host is counted.

The wrapped tensors say that they are on "meta". An operation on them runs on what they hold. A copy to the CPU that
does not block is counted as a copy; one that does, and a scalar that is asked for, are counted as waits.
"""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

AWAY, HOST = torch.device("meta"), torch.device("cpu")


class Away(torch.Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=AWAY, requires_grad=inner.requires_grad
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Away({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("tensors of the fake device need its mode")


class FakeDevice(TorchDispatchMode):
    """While it is entered, the device is there; `copies` and `waits` count what came to the host."""

    def __init__(self):
        super().__init__()
        self.copies = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        away = any(issubclass(kind, Away) for kind in types)
        inner_args, inner_kwargs = tree_map(_unwrapped, (args, kwargs))
        if device is not None and torch.device(device) == AWAY:
            inner_kwargs["device"], away = HOST, True
        elif func is torch.ops.aten._local_scalar_dense.default and away:
            self.waits += 1
            return func(*inner_args)
        elif device is not None and away:
            self.copies += bool(kwargs.get("non_blocking"))
            self.waits += not kwargs.get("non_blocking")
            return func(*inner_args, **inner_kwargs)
        result = func(*inner_args, **inner_kwargs)
        if not away:
            return result
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrapped, result))


def to_device(model: nn.Module) -> nn.Module:
    """Put a model's parameters on the device; its mode must be entered."""
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = nn.Parameter(Away(parameter.detach()))
    return model


def _unwrapped(x):
    return x.inner if isinstance(x, Away) else x


def _wrapped(x):
    return Away(x) if isinstance(x, torch.Tensor) and not isinstance(x, Away) else x
