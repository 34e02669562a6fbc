"""The encoder's weights on disk: int8 matrices with a scale for each row, everything else float32. Knows no runtime."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`positions` bounds the tokens of one window."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A matrix (outputs, inputs): row r is `values[r] * scale[r]`."""

    values: NDArray[np.int8]
    scale: Floats

    def floats(self) -> Floats:
        return self.values.astype(np.float32) * self.scale[:, None]


@dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """`matrices` and `vectors` by the net's names: "word", "position", "layers.0.qkv", …, "head"."""

    shape: Shape
    matrices: dict[str, Quantised]
    vectors: dict[str, Floats]


def quantise(matrix: Floats) -> Quantised:
    """Symmetric, a scale for each row: the error of a weight is at most half a step, max|row| / 254."""
    scale = np.maximum(np.abs(matrix).max(axis=1), 1e-12).astype(np.float32) / 127
    return Quantised(values=np.rint(matrix / scale[:, None]).astype(np.int8), scale=scale)


def from_state(shape: Shape, state: Mapping[str, Floats]) -> EncoderWeights:
    """Of a net's tensors, "NAME.weight" and "NAME.bias"; two-dimensional ones are quantised."""
    matrices = {name.removesuffix(".weight"): quantise(value) for name, value in state.items() if value.ndim == 2}
    vectors = {name: np.asarray(value, np.float32) for name, value in state.items() if value.ndim == 1}
    return EncoderWeights(shape=shape, matrices=matrices, vectors=vectors)


def save(weights: EncoderWeights, path: Path) -> None:
    tensors: dict[str, NDArray[np.generic]] = {**weights.vectors}
    for name, matrix in weights.matrices.items():
        tensors[f"{name}.int8"], tensors[f"{name}.scale"] = matrix.values, matrix.scale
    save_file(tensors, path, {"shape": json.dumps(asdict(weights.shape))})


def load(path: Path) -> EncoderWeights:
    """Raises OSError when the file isn't there, ValueError when it holds something else."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if "shape" not in metadata:
                raise ValueError(f"{path} holds no encoder of moods.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no dictionary
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    names = [name.removesuffix(".int8") for name in tensors if name.endswith(".int8")]
    matrices = {name: Quantised(values=tensors[f"{name}.int8"], scale=tensors[f"{name}.scale"]) for name in names}
    quantised = {f"{name}.{part}" for name in names for part in ("int8", "scale")}
    vectors = {name: value for name, value in tensors.items() if name not in quantised}
    return EncoderWeights(shape=Shape(**json.loads(metadata["shape"])), matrices=matrices, vectors=vectors)
