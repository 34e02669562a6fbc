"""Between which values every input of the encoder's matrices lay on held-back texts. Integer arithmetic scales its
inputs by them. Knows no runtime."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.sentiment.encoder_weights import EncoderWeights, Floats

RANGES_FILE = "encoder-ranges.safetensors"

Ranges = Mapping[str, Floats]  # by matrix, "layers.0.qkv" and so on: (2, inputs), the least and the greatest value


def layer_matrices(weights: EncoderWeights) -> list[str]:
    """Names of the matrices that each token goes through."""
    return [f"layers.{n}.{kind}" for n in range(weights.shape.layers) for kind in ("qkv", "out", "up", "down")]


def save_ranges(ranges: Ranges, path: Path) -> None:
    save_file(dict(ranges), path)


def load_ranges(path: Path, weights: EncoderWeights) -> Ranges | None:
    """None where there is no such file, or it is of another encoder."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        return None
    inputs = {name: weights.matrices[name].values.shape[1] for name in layer_matrices(weights)}
    fits = found.keys() == inputs.keys() and all(found[name].shape == (2, size) for name, size in inputs.items())
    return found if fits else None
