"""A real, tiny portrait model with random weights, for tests that need no trained one and no torch."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from models.gan.portrait_weights import ATTRIBUTES, CONFIG, GENERATOR, Config, generator_shapes
from models.gan.traits import FIELD, FIELDS, TRAITS

CONDITIONS = tuple(dict.fromkeys(trait.field for trait in TRAITS))


def tiny_config(*, palette: bool = True) -> Config:
    return Config(
        z=8,
        embedding=8,
        stages=(16, 16),
        patch=4,
        blocks=1,
        expansion=1,
        size=16,
        fields=CONDITIONS,
        shares=tuple((1 / len(FIELD[name].classes),) * len(FIELD[name].classes) for name in CONDITIONS),
        palette=palette,
        sha256={},
    )


def write_tiny_portraits(folder: Path, *, seed: int = 0, palette: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    config = tiny_config(palette=palette)

    def weights(shape: tuple[int, ...]) -> np.ndarray:
        spread = 1.0 if len(shape) < 2 else (2 / np.prod(shape[1:])) ** 0.5
        return (random.standard_normal(shape) * spread).astype(np.float16)

    generator = {name: weights(shape) for name, shape in generator_shapes(config).items()}
    generator["palette"] = random.integers(0, 256, (40, 3), np.uint8)
    classes = sum(len(field.classes) for field in FIELDS)
    attributes = {
        "first.weight": (4, 3, 3, 3),
        "first.bias": (4,),
        "second.weight": (4, 16, 3, 3),
        "second.bias": (4,),
        "third.weight": (4, 16, 3, 3),
        "third.bias": (4,),
        "features.weight": (8, 64),
        "features.bias": (8,),
        "classes.weight": (classes, 8),
        "classes.bias": (classes,),
    }
    save_file(generator, folder / GENERATOR)
    save_file({name: weights(shape) for name, shape in attributes.items()}, folder / ATTRIBUTES)
    sha256 = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GENERATOR, ATTRIBUTES)}
    (folder / CONFIG).write_bytes(msgspec.json.encode(msgspec.structs.replace(config, sha256=sha256)))
    return folder
