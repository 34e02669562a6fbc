"""The folder of a portrait model: what lies in it, and that it is whole. Knows no torch, no seed and no word.

config.json                shape of the networks, conditioning fields, shares of their classes, sha256 of the files
generator.safetensors      the averaged generator, fp16, and the palette (uint8)
attributes.safetensors     the attribute classifier, fp16
discriminator.safetensors  fp16, for going on with the training; not read here
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from models.serving.short_model import ShortModelMissingError

CONFIG: Final = "config.json"
GENERATOR, ATTRIBUTES, DISCRIMINATOR = (
    "generator.safetensors",
    "attributes.safetensors",
    "discriminator.safetensors",
)
_MAX_BYTES: Final = 64 * 2**20  # of one file; ours have about one MB
_MAX_PARTS: Final = 64


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`shares` holds, for each conditioning field in the order of `fields`, how often each class is in the data.
    `palette`: whether a painted pixel takes the nearest colour of the data's palette."""

    z: int
    embedding: int
    stages: tuple[int, ...]
    patch: int
    blocks: int
    expansion: int
    size: int
    fields: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    palette: bool
    sha256: dict[str, str]
    origin: str = ""  # of the training: recipe and cost, for people

    @property
    def coarsest(self) -> int:
        """Places along an edge of the generator's first stage."""
        return self.size // self.patch // int(2 ** (len(self.stages) - 1))


@dataclass(frozen=True, kw_only=True)
class PortraitWeights:
    config: Config
    generator: Mapping[str, NDArray[np.float32]]
    palette: NDArray[np.uint8]  # (colours, 3)
    attributes: Mapping[str, NDArray[np.float32]]
    version: str


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ShortModelMissingError(
                f"The portrait model's {path} is larger than {_MAX_BYTES >> 20} MiB. {_REPAIR}"
            )
        return path.read_bytes()
    except OSError as error:
        raise ShortModelMissingError(
            f"The portrait model's {path} can't be read: {error.strerror}. {_REPAIR}"
        ) from error


_REPAIR: Final = "Install Inkwell again, or train one with `inkwell gan train`."


def _tensors(folder: Path, name: str, config: Config) -> dict[str, NDArray[np.generic]]:
    data = _bytes(folder / name)
    if hashlib.sha256(data).hexdigest() != config.sha256.get(name):
        raise ShortModelMissingError(f"The portrait model's {folder / name} is damaged (its sha256 differs). {_REPAIR}")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError) as error:
        raise ShortModelMissingError(f"The portrait model's {folder / name} is no safetensors. {_REPAIR}") from error


def read_config(folder: Path) -> Config:
    """Raises ShortModelMissingError with what to do."""
    try:
        config = msgspec.json.decode(_bytes(folder / CONFIG), type=Config)
    except msgspec.MsgspecError as error:
        raise ShortModelMissingError(
            f"The portrait model's {folder / CONFIG} is damaged: {error}. {_REPAIR}"
        ) from error
    if len(config.shares) != len(config.fields) or not 1 <= len(config.stages) <= _MAX_PARTS:
        raise ShortModelMissingError(f"The portrait model's {folder / CONFIG} contradicts itself. {_REPAIR}")
    return config


def generator_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """What the generator's weights must look like."""
    shapes: dict[str, tuple[int, ...]] = {
        "labels.table.weight": (sum(len(each) for each in config.shares), config.embedding),
        "start.weight": (config.stages[0] * config.coarsest**2, config.z + config.embedding),
        "start.bias": (config.stages[0] * config.coarsest**2,),
        "colour.weight": (3 * config.patch**2, config.stages[-1], 1, 1),
        "colour.bias": (3 * config.patch**2,),
    }
    for stage, channels in enumerate(config.stages):
        if stage:
            shapes[f"up.{stage - 1}.weight"] = (4 * channels, config.stages[stage - 1], 1, 1)
            shapes[f"up.{stage - 1}.bias"] = (4 * channels,)
        for block in range(config.blocks):
            at, wide = f"stages.{stage}.{block}", channels * config.expansion
            shapes |= {f"{at}.expand.weight": (wide, channels, 1, 1), f"{at}.expand.bias": (wide,)}
            shapes |= {f"{at}.spatial.weight": (wide, 16, 3, 3), f"{at}.spatial.bias": (wide,)}
            shapes[f"{at}.contract.weight"] = (channels, wide, 1, 1)
    return shapes


def read(folder: Path) -> PortraitWeights:
    """Raises ShortModelMissingError with what to do when something is missing, damaged or of another shape."""
    config = read_config(folder)
    generator = _tensors(folder, GENERATOR, config)
    attributes = _tensors(folder, ATTRIBUTES, config)
    palette = generator.pop("palette", np.zeros((0, 3), np.uint8))
    expected = generator_shapes(config)
    if {name: value.shape for name, value in generator.items()} != expected or palette.dtype != np.uint8:
        raise ShortModelMissingError(f"The portrait model's {folder / GENERATOR} has another shape. {_REPAIR}")
    content = "".join(config.sha256[name] for name in (GENERATOR, ATTRIBUTES))
    return PortraitWeights(
        config=config,
        generator={name: value.astype(np.float32) for name, value in generator.items()},
        palette=palette.astype(np.uint8),
        attributes={name: value.astype(np.float32) for name, value in attributes.items()},
        version=f"portraits@{hashlib.sha256(content.encode()).hexdigest()[:8]}",
    )
