"""Colours that tell classes apart, also for people who see fewer colours."""

from functools import cache

import numpy as np

_FIRST = ("E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7")
"""Okabe & Ito 2008, without black, which looks like a shadow in a picture."""

_NORMAL = np.eye(3)
_PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
_TRITANOPIA = np.array(
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
)
VISIONS = np.stack([_NORMAL, _PROTANOPIA, _DEUTERANOPIA, _TRITANOPIA])
"""Linear RGB to what people see of it (Machado, Oliveira & Fernandes 2009, severity 1)."""

_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
_STEPS = 12
_LIGHTNESS = (0.35, 0.93)
"""Candidates are neither as dark nor as bright as to pass for a picture's shadow or glare."""


def palette(count: int) -> np.ndarray:
    """Return (count, 3) bytes: colours of which each is as far as possible from those before it.

    The distance of two colours is the smallest in OKLab (Ottosson 2020) for normal sight, protanopia, deuteranopia and
    tritanopia. The first seven are those of Okabe & Ito; the first n are the same for every count.
    """
    return np.array(_colours(max(count, len(_FIRST)))[:count], dtype=np.uint8).reshape(count, 3)


@cache
def _colours(count: int) -> tuple[tuple[int, int, int], ...]:
    chosen = [np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) for code in _FIRST]
    levels = np.linspace(0, 255, _STEPS).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = seen(candidates)[0, :, 0]
    candidates = candidates[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]
    lab = seen(candidates)
    nearest = np.min([_distances(lab, seen(colour[None])) for colour in chosen], axis=0)
    while len(chosen) < count:
        best = candidates[nearest.argmax()]
        chosen.append(best)
        nearest = np.minimum(nearest, _distances(lab, seen(best[None])))
    return tuple((int(r), int(g), int(b)) for r, g, b in chosen)


def seen(colours: np.ndarray) -> np.ndarray:
    """Return (visions, n, 3) OKLab coordinates of (n, 3) sRGB bytes, as each kind of sight has them."""
    srgb = np.asarray(colours) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lights = np.clip(linear @ VISIONS.transpose(0, 2, 1), 0.0, 1.0)
    return np.cbrt(lights @ _LMS.T) @ _LAB.T


def _distances(lab: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return (n,) the smallest distance over the visions."""
    return np.linalg.norm(lab - other, axis=-1).min(axis=0)
