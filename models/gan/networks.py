"""Generator and discriminator, built from one residual block. Knows no loss and no data; labels are plain numbers.

The block is that of R3GAN (Huang et al. 2024, section 4): no normalisation, an inverted bottleneck whose 3x3
convolution is grouped, Fixup's start (Zhang et al. 2019). Resolution changes by moving pixels into channels and back:
art of 16x16 pixels is aligned to the pixel, and interpolation would blur what has to be exact.
"""

from itertools import pairwise
from typing import Final

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE: Final = 0.2  # of the leaky rectifier
_GROUP: Final = 16  # channels in a group of the 3x3 convolution


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the networks' size. `stages` are channels from the coarsest resolution to the finest, each twice as
    fine; at the finest one a place stands for `patch` x `patch` pixels. `classes`: how many each label has."""

    z: int = 64
    embedding: int = 64
    stages: tuple[int, ...] = (128, 64)
    patch: int = 2
    blocks: int = 1
    expansion: int = 2
    classes: tuple[int, ...] = ()

    size: int = 16  # pixels along an edge of the picture

    @property
    def coarsest(self) -> int:
        """Places along an edge of the first stage."""
        return self.size // self.patch // int(2 ** (len(self.stages) - 1))


class Block(nn.Module):
    """x + W3 a(W2 a(W1 x + b1) + b2): 1x1 to more channels, grouped 3x3, 1x1 back. (batch, C, H, W) to the same."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = nn.Conv2d(channels, wide, 1)
        self.spatial = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // _GROUP)
        self.contract = nn.Conv2d(wide, channels, 1, bias=False)
        for layer in (self.expand, self.spatial):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.expand(x), SLOPE)
        hidden = functional.leaky_relu(self.spatial(hidden), SLOPE)
        added: Tensor = x + self.contract(hidden)
        return added


def _blocks(channels: int, shape: Shape) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, shape.expansion) for _ in range(shape.blocks)))


class Labels(nn.Module):
    """The sum of one learned vector per label: (batch, fields) to (batch, width)."""

    first: Tensor

    def __init__(self, classes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max(1, sum(classes)), width)
        nn.init.normal_(self.table.weight, std=1 / max(1, len(classes)) ** 0.5)
        first = torch.cumsum(torch.tensor((0, *classes[:-1])), 0) if classes else torch.zeros(0, dtype=torch.long)
        self.register_buffer("first", first, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        vectors: Tensor = self.table(labels + self.first)
        return vectors.sum(1)


class Generator(nn.Module):
    """z (batch, z) and labels (batch, fields) to pictures (batch, 3, size, size), about -1 to 1."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.labels = Labels(shape.classes, shape.embedding)
        self.start = nn.Linear(shape.z + shape.embedding, shape.stages[0] * shape.coarsest**2)
        nn.init.normal_(self.start.weight, std=(shape.z + shape.embedding) ** -0.5)
        nn.init.zeros_(self.start.bias)
        self.stages = nn.ModuleList(_blocks(channels, shape) for channels in shape.stages)
        pairs = pairwise(shape.stages)
        rises = [nn.Conv2d(low, 4 * high, 1) for low, high in pairs]
        for layer in rises:
            nn.init.kaiming_normal_(layer.weight, 1.0)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.up = nn.ModuleList(rises)
        self.colour = nn.Conv2d(shape.stages[-1], 3 * shape.patch**2, 1)
        nn.init.normal_(self.colour.weight, std=0.5 * shape.stages[-1] ** -0.5)
        nn.init.zeros_(self.colour.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.paint(torch.cat([z, self.labels(labels)], 1))

    def paint(self, start: Tensor) -> Tensor:
        """The picture of one point: z and the labels' vector side by side, (batch, z + embedding)."""
        x = self.start(start).view(-1, self.shape.stages[0], self.shape.coarsest, self.shape.coarsest)
        x = x.contiguous(memory_format=torch.channels_last)  # a fifth faster on a CPU
        x = self.stages[0](x)
        for up, stage in zip(self.up, self.stages[1:], strict=True):
            x = stage(functional.pixel_shuffle(up(x), 2))
        picture: Tensor = functional.pixel_shuffle(self.colour(x), self.shape.patch)
        return picture


class Discriminator(nn.Module):
    """Pictures (batch, 3, size, size) and labels (batch, fields) to logits (batch,). The labels enter by projection
    (Miyato and Koyama 2018): their vector's product with the picture's features."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.stages[::-1]
        self.colour = nn.Conv2d(3 * shape.patch**2, widths[0], 1)
        self.stages = nn.ModuleList(_blocks(channels, shape) for channels in widths)
        pairs = pairwise(widths)
        self.down = nn.ModuleList(nn.Conv2d(4 * high, low, 1) for high, low in pairs)
        self.features = nn.Linear(widths[-1] * shape.coarsest**2, 2 * shape.embedding)
        self.labels = Labels(shape.classes, 2 * shape.embedding)
        self.verdict = nn.Linear(2 * shape.embedding, 1)
        for layer in (self.colour, *self.down, self.features):
            nn.init.kaiming_normal_(layer.weight, 1.0)
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        x = functional.pixel_unshuffle(pictures, self.shape.patch).contiguous(memory_format=torch.channels_last)
        x = self.stages[0](self.colour(x))
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            x = stage(down(functional.pixel_unshuffle(x, 2)))
        features = functional.leaky_relu(self.features(x.flatten(1)), SLOPE)
        logits: Tensor = self.verdict(features)[:, 0]
        if self.shape.classes:
            logits = logits + (features * self.labels(labels)).sum(1) * self.labels.table.embedding_dim**-0.5
        return logits
