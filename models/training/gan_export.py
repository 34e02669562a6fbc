"""Writes and reads the folder of a portrait model from the training's side: networks to fp16 files and back. Knows no
loss. What serves the folder is `models.gan.portrait_weights`.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.gan.networks import Discriminator, Generator, Shape
from models.gan.portrait_weights import ATTRIBUTES, CONFIG, DISCRIMINATOR, GENERATOR, Config, read_config
from models.gan.traits import FIELD
from models.training.gan_data import Portraits
from models.training.gan_run import CONDITIONS, condition_labels


def _halves(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().half().contiguous() for name, weight in network.state_dict().items()}


def palette_of(portraits: Portraits) -> Tensor:
    """All colours of the data, uint8 (colours, 3), sorted."""
    return torch.from_numpy(np.unique(portraits.pictures.reshape(-1, 3), axis=0))


def shares_of(portraits: Portraits) -> tuple[tuple[float, ...], ...]:
    """How often each class of each conditioning field is in the data."""
    labels = condition_labels(portraits)
    return tuple(
        tuple((torch.bincount(column, minlength=len(FIELD[name].classes)).double() / len(column)).tolist())
        for name, column in zip(CONDITIONS, labels.T, strict=True)
    )


def export(
    folder: Path,
    average: Generator,
    discriminator: Discriminator,
    classifier: Path,
    portraits: Portraits,
    *,
    palette: bool,
    origin: str,
) -> None:
    """Write `folder` anew, with the colours and shares of `portraits`. `classifier` is a file of
    AttributeClassifier.save; `origin` says how the run went."""
    write(
        folder,
        average,
        discriminator,
        classifier,
        colours=palette_of(portraits),
        shares=shares_of(portraits),
        palette=palette,
        origin=origin,
    )


def write(
    folder: Path,
    average: Generator,
    discriminator: Discriminator,
    classifier: Path,
    *,
    colours: Tensor,
    shares: tuple[tuple[float, ...], ...],
    palette: bool,
    origin: str,
) -> None:
    """As `export`. `colours` uint8 (n, 3); `shares` of each conditioning field's classes."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = average.shape
    save_file(_halves(average) | {"palette": colours}, folder / GENERATOR)
    save_file(_halves(discriminator), folder / DISCRIMINATOR)
    if classifier.resolve() != (folder / ATTRIBUTES).resolve():
        shutil.copyfile(classifier, folder / ATTRIBUTES)
    config = Config(
        z=shape.z,
        embedding=shape.embedding,
        stages=shape.stages,
        patch=shape.patch,
        blocks=shape.blocks,
        expansion=shape.expansion,
        size=shape.size,
        fields=CONDITIONS,
        shares=tuple(tuple(round(each, 6) for each in row) for row in shares),
        palette=palette,
        sha256={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (GENERATOR, DISCRIMINATOR, ATTRIBUTES)
        },
        origin=origin,
    )
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")


def shape_of(config: Config) -> Shape:
    return Shape(
        z=config.z,
        embedding=config.embedding,
        stages=config.stages,
        patch=config.patch,
        blocks=config.blocks,
        expansion=config.expansion,
        size=config.size,
        classes=tuple(len(each) for each in config.shares),
    )


def exported(folder: Path) -> tuple[Shape, dict[str, Tensor], dict[str, Tensor]]:
    """The shape and the weights of generator and discriminator, in fp32, to go on from. Raises ValueError, in one
    sentence, when they aren't there or are damaged."""
    config = read_config(folder)
    found = []
    for name in (GENERATOR, DISCRIMINATOR):
        try:
            weights = load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder / name} can't be read: {error}") from error
        found.append({key: value.float() for key, value in weights.items() if key != "palette"})
    return shape_of(config), found[0], found[1]
