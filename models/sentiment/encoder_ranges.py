"""Between which values every input of the encoder's matrices lay on held-back texts. Integer arithmetic scales its
inputs by them. Knows no runtime."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.sentiment.encoder_weights import EncoderWeights, Floats

RANGES_FILE = "encoder-ranges.safetensors"
_ENCODER = "encoder"  # the digest of the file that they were measured with

Ranges = Mapping[str, Floats]  # by matrix, "layers.0.qkv" and so on: (2, inputs), the least and the greatest value


def layer_matrices(weights: EncoderWeights) -> list[str]:
    """Names of the matrices that each token goes through."""
    return [f"layers.{n}.{kind}" for n in range(weights.shape.layers) for kind in ("qkv", "out", "up", "down")]


def save_ranges(ranges: Ranges, folder: Path) -> None:
    """For the encoder in `folder`, which is there already."""
    encoder = hashlib.sha256((folder / "encoder.safetensors").read_bytes()).hexdigest()
    save_file(dict(ranges), folder / RANGES_FILE, {_ENCODER: encoder})


def load_ranges(path: Path, weights: EncoderWeights, digest: str) -> Ranges | None:
    """Those of `weights`, whose file has this SHA-256. None where there are none, or they are of another encoder: its
    answers would be far off."""
    try:
        with safe_open(path, "np") as file:
            if (file.metadata() or {}).get(_ENCODER) != digest:
                return None
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no dictionary
    except (OSError, SafetensorError):
        return None
    inputs = {name: weights.matrices[name].values.shape[1] for name in layer_matrices(weights)}
    fits = found.keys() == inputs.keys() and all(found[name].shape == (2, size) for name, size in inputs.items())
    return found if fits and all(np.isfinite(value).all() for value in found.values()) else None
