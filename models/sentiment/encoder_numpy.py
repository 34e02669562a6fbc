"""The encoder's arithmetic in numpy, for machines without OpenVINO and ONNX Runtime, to measure the latter's
ranges, and as the reference in tests. Knows no text.

All tokens of a batch stand in one matrix, so that each weight is read once for all of them and nothing is computed for
padding; only attention goes text by text.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.sentiment.encoder_weights import EncoderWeights, Floats


class NumpyRuntime:
    """BERT's forward pass (Devlin et al. 2019) with mean pooling and the heads of mood. `watch` sees each matrix's name
    and what goes into it, (tokens, inputs)."""

    name = "numpy"
    batch_tokens = 1024

    def __init__(
        self, weights: EncoderWeights, watch: Callable[[str, Floats], object] = lambda _name, _x: None
    ) -> None:
        self._watch = watch
        self._shape = weights.shape
        self._matrices = {name: matrix.floats() for name, matrix in weights.matrices.items()}
        self._vectors = weights.vectors

    def logits(self, ids: list[list[int]]) -> Floats:
        """(texts, 4): polar and positive of the first language, then of the second."""
        lengths = [len(row) for row in ids]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.concatenate([np.asarray(row) for row in ids])
        places = np.concatenate([np.arange(length) for length in lengths])
        x = self._norm(self._matrices["word"][tokens] + self._matrices["position"][places], "embedding_norm")
        for n in range(self._shape.layers):
            x = self._layer(x, f"layers.{n}", bounds)
        pooled: Floats = np.add.reduceat(x, bounds[:-1], axis=0)
        pooled /= np.asarray(lengths, np.float32)[:, None]
        return self._linear(pooled, "head")

    def _layer(self, x: Floats, name: str, bounds: NDArray[np.int64]) -> Floats:
        heads, size = self._shape.heads, self._shape.hidden // self._shape.heads
        qkv = self._linear(x, f"{name}.qkv").reshape(len(x), 3, heads, size)
        mixed = np.empty((len(x), heads, size), np.float32)
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            q, k, v = qkv[begin:end].transpose(1, 2, 0, 3)  # each (heads, tokens, size)
            scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(size))
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[begin:end] = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2)
        x = self._norm(x + self._linear(mixed.reshape(len(x), -1), f"{name}.out"), f"{name}.attention_norm")
        return self._norm(x + self._linear(_gelu(self._linear(x, f"{name}.up")), f"{name}.down"), f"{name}.norm")

    def _linear(self, x: Floats, name: str) -> Floats:
        self._watch(name, x)
        out: Floats = x @ self._matrices[name].T
        out += self._vectors[f"{name}.bias"]
        return out

    def _norm(self, x: Floats, name: str) -> Floats:
        return layer_norm(x, self._vectors[f"{name}.weight"], self._vectors[f"{name}.bias"], self._shape.epsilon)


def layer_norm(x: Floats, weight: Floats, bias: Floats, epsilon: float) -> Floats:
    """Over the last axis (Ba et al. 2016, eq. 4)."""
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(epsilon))
    x *= weight
    x += bias
    return x


def _gelu(x: Floats) -> Floats:
    # The tanh form (Hendrycks and Gimpel 2016), within 0.0005 of the exact one: numpy has no erf.
    inner = x * x
    inner *= np.float32(0.044715)
    inner += 1
    inner *= x
    inner *= np.float32(0.7978845608)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner
