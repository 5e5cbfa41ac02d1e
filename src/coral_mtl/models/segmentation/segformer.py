"""The encoder of SegFormer (Xie et al. 2021, NeurIPS, arXiv 2105.15203), as the transformers package has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from coral_mtl.errors import ConfigError, MissingExtraError
from coral_mtl.unreadable import UNREADABLE, reason

BackboneName = Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"]
STRIDES = (4, 8, 16, 32)
"""Pixels a side of a cell of each stage's map; images have sides of a multiple of the last."""


class _Size(NamedTuple):
    depths: list[int]
    hidden_sizes: list[int]


SIZES: dict[BackboneName, _Size] = {
    "mit_b0": _Size([2, 2, 2, 2], [32, 64, 160, 256]),
    "mit_b1": _Size([2, 2, 2, 2], [64, 128, 320, 512]),
    "mit_b2": _Size([3, 4, 6, 3], [64, 128, 320, 512]),
    "mit_b3": _Size([3, 4, 18, 3], [64, 128, 320, 512]),
    "mit_b4": _Size([3, 8, 27, 3], [64, 128, 320, 512]),
    "mit_b5": _Size([3, 6, 40, 3], [64, 128, 320, 512]),
}
"""Table 6 of the paper; all else is the same for all, and the default of transformers."""


class SegFormerEncoder(nn.Module):
    """Images (N, C, H, W) to four maps (N, c_i, H/s_i, W/s_i) with the strides s = 4, 8, 16, 32."""

    def __init__(self, backbone: BackboneName, channels: int, pretrained: str | None) -> None:
        """Build the encoder with random weights, or read them.

        Args:
            backbone: its size.
            channels: of the images.
            pretrained: folder or hub id of weights, or None for random ones.

        Raises:
            MissingExtraError: transformers is not installed.
            ConfigError: the weights are not there, or are those of another network.
        """
        super().__init__()
        try:
            import transformers  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError("a SegFormer encoder", "transformers", "segmentation") from None
        size = SIZES[backbone]
        config = transformers.SegformerConfig(num_channels=channels, **size._asdict())
        self.channels: Sequence[int] = size.hidden_sizes
        self.network: Any = (
            transformers.SegformerModel(config)
            if pretrained is None
            else _read(transformers, pretrained, config, backbone)
        )

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        return self.network(images, output_hidden_states=True).hidden_states


def _read(transformers: Any, pretrained: str, wanted: Any, backbone: str) -> Any:
    """Return the network with the weights of a folder or of the hub; tensors are read, nothing is unpickled."""
    is_folder = Path(pretrained).is_dir()
    with _explained(pretrained, is_folder):
        config = transformers.AutoConfig.from_pretrained(pretrained, local_files_only=is_folder)
    _require_same(config, wanted, pretrained, backbone)
    with _explained(pretrained, is_folder), _without_report(transformers.logging):
        network, report = transformers.SegformerModel.from_pretrained(
            pretrained, config=config, output_loading_info=True, local_files_only=is_folder, weights_only=True
        )
    if report["missing_keys"]:
        raise _other_network(pretrained, backbone, f"tensors are missing, such as {min(report['missing_keys'])}")
    return network


def _require_same(found: Any, wanted: Any, pretrained: str, backbone: str) -> None:
    for key in ("model_type", "num_channels", "depths", "hidden_sizes"):
        if getattr(found, key, None) != getattr(wanted, key):
            value = getattr(found, key, None)
            raise _other_network(pretrained, backbone, f"{key} is {value} instead of {getattr(wanted, key)}")


def _other_network(pretrained: str, backbone: str, reason: str) -> ConfigError:
    return ConfigError(
        f"the weights {pretrained!r} are not those of {backbone}: {reason}\n    name the backbone that they are of",
        option="pretrained",
    )


@contextmanager
def _explained(pretrained: str, is_folder: bool) -> Iterator[None]:
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with transformers

    unreadable: tuple[type[Exception], ...] = (*UNREADABLE, SafetensorError)
    try:
        yield
    except unreadable as error:
        where = "that folder" if is_folder else "there is no folder of that name, and the Hugging Face hub"
        raise ConfigError(
            f"no weights {pretrained!r}: {where} gives none that can be read ({reason(error)})\n"
            "    give a folder that transformers wrote, or a hub id such as nvidia/mit-b0, or null for random weights",
            option="pretrained",
        ) from error


@contextmanager
def _without_report(logging: Any) -> Iterator[None]:
    """Keep transformers from listing the weights of the classifier, which are not wanted."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
