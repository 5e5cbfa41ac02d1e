"""Ways to spoil an image: images (N, 1, H, W) from 0 to 1, each at a strength of its own from 0 to 1."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

Distortion = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def noise(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Add normal noise with a standard deviation of 0.05 to 0.3."""
    drawn = torch.randn(images.shape, generator=generator)
    return images + (0.05 + 0.25 * strength) * drawn


def blur(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Mix with the mean of 5 x 5 pixels, by 30 % to 100 %."""
    share = 0.3 + 0.7 * strength
    return (1.0 - share) * images + share * avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)


def contrast(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Take 15 % to 70 % of the distance from the image's mean away."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + (0.85 - 0.55 * strength) * (images - mean)


def shift(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Move to the right by 0.5 to 3 pixels, between pixels linearly."""
    pixels = 0.5 + 2.5 * strength.flatten()
    places = torch.arange(images.shape[3]) - pixels[:, None]
    lower = places.floor()
    part = (places - lower)[:, None, None]
    columns = [
        images.gather(3, at.clamp(0, images.shape[3] - 1).long()[:, None, None].expand_as(images))
        for at in (lower, lower + 1.0)
    ]
    return (1.0 - part) * columns[0] + part * columns[1]


def quantise(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Round to 8 grey levels down to 2."""
    steps = (7.0 - 6.0 * strength).round()
    return (images * steps).round() / steps


def resample(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Mix with the image at a third of its size, enlarged again, by 30 % to 100 %."""
    share = 0.3 + 0.7 * strength
    small = interpolate(images, scale_factor=1.0 / 3.0, mode="area")
    return (1.0 - share) * images + share * interpolate(small, size=images.shape[2:], mode="bilinear")


DISTORTIONS: tuple[Distortion, ...] = (noise, blur, contrast, shift, quantise, resample)


def distorted(images: Tensor, kinds: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images, each spoilt by the kind (N,) of `DISTORTIONS` at the strength (N,), cut off at 0 and 1."""
    found = torch.empty_like(images)
    for kind, distortion in enumerate(DISTORTIONS):
        chosen = kinds == kind
        found[chosen] = distortion(images[chosen], strengths[chosen].view(-1, 1, 1, 1), generator)
    return found.clamp(0.0, 1.0)
