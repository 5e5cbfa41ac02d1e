"""The linear weights that the package lpips brings along, learned from human judgements."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from coral_mtl.errors import DataError
from coral_mtl.models.perceptual.distance import PerceptualDistance
from coral_mtl.unreadable import UNREADABLE, reason


def load_lpips_weights(
    distance: PerceptualDistance,
    network: Literal["alex", "vgg", "squeeze"],
    *,
    version: Literal["0.0", "0.1"] = "0.1",
    path: Path | None = None,
) -> None:
    """Put the weights of lpips on the layers of a distance, in their order.

    They belong to the feature maps of torchvision's AlexNet (1,152 weights), VGG-16 (1,472) or SqueezeNet 1.1 (2,240),
    pretrained, behind `ImageScaling`. Nothing of lpips is run: its file is read with torch.load(weights_only=True).

    Args:
        distance: the distance, with as many layers and channels as the weights are for.
        network: which network they were learned on.
        version: 0.1, or 0.0 of the paper's first edition, whose normalisation had a mistake (default 0.1).
        path: file to read in place of that of the installed package.

    Raises:
        DataError: no path is given and lpips is not installed, the weights are of other layers, or the file is none of
            lpips'.
    """
    path = path or _bundled(network, version)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        weights = [saved[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(saved))]
    except UNREADABLE as problem:
        raise DataError(f"{path} does not hold linear weights of lpips: {reason(problem)}") from problem
    own = distance.linear
    if [len(w) for w in weights] != [len(w) for w in own.values()]:
        raise DataError(
            f"{path} has weights for layers of {[len(w) for w in weights]} channels, and the distance has "
            f"{ ({name: len(w) for name, w in own.items()}) }"
        )
    with torch.no_grad():
        for parameter, values in zip(own.values(), weights, strict=True):
            parameter.copy_(values)


def _bundled(network: str, version: str) -> Path:
    package = find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise DataError(
            "the package lpips, which brings these weights, is not installed\n    install its files with: pip install "
            "--no-deps lpips (they are read, never run, so torchvision is not needed); or name a file with path="
        )
    return Path(package.submodule_search_locations[0]) / "weights" / f"v{version}" / f"{network}.pth"
