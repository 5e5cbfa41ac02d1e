"""Figures on their way from devices to the host: in one copy, and without a wait where nobody needs them yet."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


class Arriving:
    """The values of some tensors, as float64 arrays, once they have come.

    On a GPU they are packed into one copy to page-locked memory, which the host need not wait for.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Send the tensors off, as they are now."""
        self._shapes = [tuple(tensor.shape) for tensor in tensors]
        by_device: dict[torch.device, list[int]] = {}
        for index, tensor in enumerate(tensors):
            by_device.setdefault(tensor.device, []).append(index)
        self._order = [index for found in by_device.values() for index in found]
        self._packets = [_packed([tensors[index] for index in found]) for found in by_device.values()]
        self._events = [event for device in by_device if (event := _event(device)) is not None]

    @property
    def here(self) -> bool:
        """Whether they have come, so that `values` does not wait."""
        return all(event.query() for event in self._events)

    def values(self) -> list[np.ndarray]:
        """Return an array for each tensor, in its shape; wait for them where they are still under way."""
        for event in self._events:
            event.synchronize()
        flat = np.concatenate([packet.numpy() for packet in self._packets] or [np.empty(0)])
        values: list[np.ndarray] = [flat] * len(self._order)
        start = 0
        for index in self._order:
            shape = self._shapes[index]
            stop = start + int(np.prod(shape))
            values[index] = flat[start:stop].reshape(shape)
            start = stop
        return values


class Figures(Mapping[str, float]):
    """Scalars by name on their way to the host; the first look at one of them waits for all."""

    def __init__(self, names: Sequence[str], arriving: Arriving) -> None:
        """Name the entries of the first of some tensors."""
        self._names = names
        self._arriving = arriving
        self._figures: dict[str, float] | None = None

    def __getitem__(self, name: str) -> float:
        if self._figures is None:
            self._figures = dict(zip(self._names, self._arriving.values()[0].tolist(), strict=True))
        return self._figures[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


def figures(values: Mapping[str, Tensor]) -> Mapping[str, float]:
    """Return scalars by name, those of a GPU on their way to the host."""
    if all(value.is_cpu for value in values.values()):
        return {name: value.item() for name, value in values.items()}
    return Figures(tuple(values), Arriving([vector(list(values.values()))]))


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Bring tensors to the host as float64 arrays, in one copy from each device; read them before they change."""
    if all(tensor.is_cpu for tensor in tensors):
        return [tensor.detach().double().numpy() for tensor in tensors]
    return Arriving(tensors).values()


def vector(values: Sequence[Tensor]) -> Tensor:
    """Return scalars as one vector, on the device of the first."""
    device = values[0].device
    scalars = [value if value.ndim == 0 else value.reshape(()) for value in values]
    return torch.stack([scalar.to(device, non_blocking=True) for scalar in scalars])


def _packed(tensors: Sequence[Tensor]) -> Tensor:
    flat = [tensor.detach().reshape(-1).double() for tensor in tensors]
    return (flat[0] if len(flat) == 1 else torch.cat(flat)).to("cpu", non_blocking=True)


def _event(device: torch.device) -> torch.cuda.Event | None:
    """Return what happens when all that a GPU has to do so far is done."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event
