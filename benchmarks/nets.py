"""The networks of benchmarks/engine.py: a trunk that all tasks share, and a head for each task.

Data are random: what a step costs does not depend on what is learned. Trunks and heads are of the sizes that multi-task
papers train (LeNet on MultiMNIST, SegFormer-b0 and ResNet-18 at low resolution); `resnet50` and `vit` are for a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """A network with a batch to train it on.

    heads: one module per task on the trunk's output.
    inputs: what the trunk takes.
    targets: class numbers, in the shape of a head's output without its axis of classes, by task.
    """

    trunk: nn.Module
    heads: nn.ModuleDict
    inputs: Tensor
    targets: dict[str, Tensor]

    @property
    def model(self) -> nn.Module:
        """Trunk and heads together, for what wants one module."""
        return nn.ModuleDict({"trunk": self.trunk, "heads": self.heads})

    def forward(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses, and the trunk's output."""
        features = self.trunk(self.inputs)
        losses = {
            task: functional.cross_entropy(head(features).float(), self.targets[task])
            for task, head in self.heads.items()
        }
        return losses, features

    def shared_size(self) -> int:
        """Number of shared parameters, D."""
        return sum(parameter.numel() for parameter in self.trunk.parameters())


@dataclass(frozen=True, slots=True)
class Net:
    """How to build one of the networks.

    shape: of one input.
    cells: shape of a head's output, without its axis of classes; () where a sample has one label.
    """

    trunk: Callable[[], nn.Module]
    head: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int
    cells: tuple[int, ...] = ()

    def problem(self, tasks: int, device: torch.device) -> Problem:
        """Build the network for this many tasks, the same at every call."""
        torch.manual_seed(0)
        names = [f"task_{index}" for index in range(tasks)]
        return Problem(
            trunk=self.trunk().to(device),
            heads=nn.ModuleDict({name: self.head() for name in names}).to(device),
            inputs=torch.randn(self.batch, *self.shape).to(device),
            targets={name: torch.randint(CLASSES, (self.batch, *self.cells)).to(device) for name in names},
        )


def lenet() -> nn.Module:
    """The trunk of the LeNet that MultiMNIST is trained with."""
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(720, 50), nn.ReLU()),
    )


def mlp(width: int = 1024, layers: int = 4) -> nn.Module:
    """Dense layers of equal width."""
    return nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())))


class Residual(nn.Module):
    """x + inner(x), or shortcut(x) + inner(x), with ReLU behind it."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.inner(x))


def convolution(d_in: int, d_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch normalisation."""
    return nn.Sequential(nn.Conv2d(d_in, d_out, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(d_out))


def basic_block(d_in: int, width: int, stride: int) -> Residual:
    """The block of ResNet-18: two 3x3 convolutions."""
    shortcut = nn.Identity() if d_in == width and stride == 1 else convolution(d_in, width, 1, stride)
    inner = nn.Sequential(convolution(d_in, width, 3, stride), nn.ReLU(inplace=True), convolution(width, width, 3))
    return Residual(inner, shortcut)


def bottleneck(d_in: int, width: int, stride: int) -> Residual:
    """The block of ResNet-50: 1x1, 3x3, 1x1 convolutions, four times as wide at its end."""
    shortcut = nn.Identity() if d_in == 4 * width and stride == 1 else convolution(d_in, 4 * width, 1, stride)
    inner = nn.Sequential(
        *(convolution(d_in, width, 1), nn.ReLU(inplace=True)),
        *(convolution(width, width, 3, stride), nn.ReLU(inplace=True)),
        convolution(width, 4 * width, 1),
    )
    return Residual(inner, shortcut)


def resnet18() -> nn.Module:
    """ResNet-18 for 64 x 64: a 3x3 convolution of stride 2 in place of the stem."""
    widths = (64, 64, 128, 256, 512)
    blocks = [
        block
        for d_in, width in pairwise(widths)
        for block in (basic_block(d_in, width, 1 if width == d_in else 2), basic_block(width, width, 1))
    ]
    return nn.Sequential(
        *(convolution(3, 64, 3, 2), nn.ReLU(inplace=True)), *blocks, *(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )


def resnet50() -> nn.Module:
    """ResNet-50 for 224 x 224."""
    blocks, d_in = [], 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for index in range(count):
            blocks.append(bottleneck(d_in, width, 2 if index == 0 and width > 64 else 1))
            d_in = 4 * width
    stem = (convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Attention(nn.Module):
    """Self-attention over (B, N, d) tokens; keys and values see the image shrunk by `reduction` along each side."""

    def __init__(self, width: int, heads: int, reduction: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.shrink = None
        if reduction > 1:
            self.shrink = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        batch, count, width = tokens.shape
        seen = tokens
        if self.shrink is not None:
            image = tokens.transpose(1, 2).reshape(batch, width, side, side)
            seen = self.norm(self.shrink(image).flatten(2).transpose(1, 2))
        query = self.query(tokens).view(batch, count, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(seen).view(batch, -1, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, count, width))


class MixFeedForward(nn.Module):
    """SegFormer's two dense layers with a depthwise 3x3 convolution between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.depthwise = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        hidden = self.first(tokens)
        image = hidden.transpose(1, 2).reshape(len(tokens), -1, side, side)
        return self.second(functional.gelu(self.depthwise(image).flatten(2).transpose(1, 2)))


class MixBlock(nn.Module):
    """A block of SegFormer's encoder."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, heads, reduction)
        self.feed_forward = MixFeedForward(width)

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        tokens = tokens + self.attention(self.norms[0](tokens), side)
        return tokens + self.feed_forward(self.norms[1](tokens), side)


class MixStage(nn.Module):
    """Overlapping patches, and two blocks on them: (B, d_in, s, s) -> (B, width, s / stride, s / stride)."""

    def __init__(self, d_in: int, width: int, stride: int, heads: int, reduction: int) -> None:
        super().__init__()
        kernel = 2 * stride - 1
        self.patches = nn.Conv2d(d_in, width, kernel, stride, padding=kernel // 2)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.blocks = nn.ModuleList([MixBlock(width, heads, reduction) for _ in range(2)])

    def forward(self, image: Tensor) -> Tensor:
        image = self.patches(image)
        side = image.shape[-1]
        tokens = self.norms[0](image.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens, side)
        return self.norms[1](tokens).transpose(1, 2).unflatten(2, (side, side))


class SegFormer(nn.Module):
    """SegFormer-b0 with a decoder of width 128: an image -> (B, 128, side / 4, side / 4)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        plans = ((3, 32, 4, 1, 8), (32, 64, 2, 2, 4), (64, 160, 2, 5, 2), (160, 256, 2, 8, 1))
        self.stages = nn.ModuleList([MixStage(*plan) for plan in plans])
        self.projections = nn.ModuleList([nn.Conv2d(plan[1], width, 1) for plan in plans])
        self.fuse = nn.Sequential(convolution(4 * width, width, 1), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        levels = []
        for stage, projection in zip(self.stages, self.projections, strict=True):
            image = stage(image)
            levels.append(projection(image))
        size = levels[0].shape[-2:]
        levels = [functional.interpolate(level, size, mode="bilinear") for level in levels]
        return self.fuse(torch.cat(levels, 1))


class ViT(nn.Module):
    """A small vision transformer (ViT-S/16): an image of 224 x 224 -> (B, 384)."""

    def __init__(self, width: int = 384, layers: int = 12, heads: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.positions = nn.Parameter(torch.randn(1, 196, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        return self.encoder(tokens).mean(1)


def linear_head(width: int) -> Callable[[], nn.Module]:
    """One dense layer."""
    return lambda: nn.Linear(width, CLASSES)


def lenet_head() -> nn.Module:
    """The head of MultiMNIST's LeNet: two dense layers."""
    return nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, CLASSES))


def light_head() -> nn.Module:
    """A dense prediction from one 1x1 convolution."""
    return nn.Conv2d(128, CLASSES, 1)


def heavy_head() -> nn.Module:
    """A dense prediction behind two 3x3 convolutions."""
    return nn.Sequential(
        *(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()),
        nn.Conv2d(128, CLASSES, 1),
    )


NETS = {
    "lenet": Net(lenet, lenet_head, (1, 36, 36), 256),
    "segformer": Net(SegFormer, light_head, (3, 128, 128), 4, (32, 32)),
    "segformer-heavy": Net(SegFormer, heavy_head, (3, 128, 128), 4, (32, 32)),
    "resnet": Net(resnet18, linear_head(512), (3, 64, 64), 16),
    "mlp": Net(mlp, linear_head(1024), (1024,), 64),
    "resnet50": Net(resnet50, linear_head(2048), (3, 224, 224), 64),
    "vit": Net(ViT, linear_head(384), (3, 224, 224), 64),
}
