"""How different two images look: weighted differences of a network's features."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from coral_mtl.errors import DataError
from coral_mtl.options import Positive, ProperFraction

FeatureMaps = Sequence[Tensor] | Mapping[str, Tensor]


class ImageScaling(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to the range that ImageNet's networks know: (x - shift) / scale by channel."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.shift) / self.scale


class PerceptualDistance(nn.Module):
    """d(x, y) = sum_l mean_{h,w} sum_c w_lc (u_lc(x) - u_lc(y))^2 (Zhang et al. 2018, equation 1).

    u_l are the features f_l (N, C_l, H_l, W_l) of the backbone, made unit vectors over the channels,
    f / sqrt(|f|^2 + eps^2). The paper's w is the root of this one, which is why it has to stay at 0 or above: put the
    constraint NonNegative on `linear.*`, and on nothing else. The parameters are called `linear.<layer>`; all start at
    1, the distance without weights.

    Symmetric, d(x, x) = 0, and no metric. Half precisions are computed in float32.
    """

    def __init__(
        self,
        backbone: Callable[[Tensor], FeatureMaps],
        channels: Mapping[str, int] | Iterable[int],
        *,
        dropout: ProperFraction = 0.0,
        epsilon: Positive = 1e-10,
    ) -> None:
        """Put weights on the feature maps of `backbone`.

        Args:
            backbone: images to feature maps, in a list or by name. ImageNet's networks want
                `nn.Sequential(ImageScaling(), network)`.
            channels: the number of channels of each map, by name or in order; the maps of a list are called layer_0,
                layer_1, ...
            dropout: share of the squared differences that training leaves out, at random (default 0.0).
            epsilon: length below which a feature vector counts as zero (default 1e-10).
        """
        super().__init__()
        self.backbone = backbone
        named = channels if isinstance(channels, Mapping) else {f"layer_{i}": c for i, c in enumerate(channels)}
        self.linear = nn.ParameterDict({name: nn.Parameter(torch.ones(count)) for name, count in named.items()})
        self.dropout = nn.Dropout(dropout)
        self.epsilon = epsilon

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (N,) distances of images (N, ...)."""
        return self.between(self.features(first), self.features(second))

    def triplet(self, reference: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) twice, the distances of two images from a reference, whose features are computed once."""
        features = self.features(reference)
        return self.between(features, self.features(first)), self.between(features, self.features(second))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the unit feature vectors by layer; raise DataError where the backbone's maps are not as promised."""
        maps = self.backbone(images)
        if not isinstance(maps, Mapping):
            maps = {f"layer_{index}": features for index, features in enumerate(maps)}
        wanted = {name: len(weights) for name, weights in self.linear.items()}
        if {name: features.shape[1] if features.ndim == 4 else 0 for name, features in maps.items()} != wanted:
            given = ", ".join(f"{name} {tuple(features.shape)}" for name, features in maps.items())
            raise DataError(f"the backbone gives {given}, and not maps (N, C, H, W) with the channels {wanted}")
        return {name: unit_vectors(maps[name], self.epsilon) for name in self.linear}

    def by_layer(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return (N,) distances of unit features by layer, which add up to the whole."""
        return {
            name: (self.dropout((first[name] - second[name]).square()) * weights[:, None, None]).sum(1).mean((1, 2))
            for name, weights in self.linear.items()
        }

    def between(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor:
        """Return (N,) distances of unit features."""
        return torch.stack(list(self.by_layer(first, second).values())).sum(dim=0)


def unit_vectors(features: Tensor, epsilon: float) -> Tensor:
    """Return (N, C, ...) features f / sqrt(|f|^2 + epsilon^2), of length 1 over the channels.

    Its gradient is finite everywhere; that of f / (|f| + epsilon) is NaN at f = 0, where rectified features often are.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + epsilon**2)
