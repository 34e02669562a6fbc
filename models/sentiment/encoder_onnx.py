"""The encoder's arithmetic in ONNX Runtime with int8 matrices and uint8 inputs: on a processor without bfloat16 of its
own 1.6 times as fast as float32. Knows no text; the graph is written here, so that no file of another form is
needed.

Scales of inputs are fixed, not of the text at hand, so that a text gets the same answer in any company. Outliers of
single input channels, which would take most of the 256 steps for themselves, are divided out of the inputs and
multiplied into the weights (SmoothQuant, Xiao et al. 2023, eq. 4).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.sentiment.encoder_numpy import layer_norm
from models.sentiment.encoder_ranges import Ranges
from models.sentiment.encoder_weights import EncoderWeights, Floats
from models.serving.quiet_runtimes import onnxruntime

# How much of an outlier goes into the weights, by kind of matrix: eq. 4's alpha. Chosen by how far the log odds of 300
# held-back texts are from float32's; GELU's outputs have the greatest outliers.
_ALPHA: Final = {"qkv": 0.7, "out": 0.7, "up": 0.6, "down": 0.85}
_LEAST: Final = 0.01  # of the greatest: what a channel counts as at least, or a silent one's weights would vanish
# Weights have 7 bits: on AVX2 two products of a uint8 and an int8 are added in 16 bits, and 2 * 255 * 63 still fits.
_MOST_WEIGHT: Final = 63
_MOST_INPUT: Final = 255
_CONTRIB: Final = "com.microsoft"


class OnnxRuntime:
    """Raises RuntimeError where ONNX Runtime can't compute this."""

    name = "onnxruntime"
    batch_tokens = 384  # more leaves the processor's second cache

    def __init__(self, weights: EncoderWeights, ranges: Ranges, *, threads: int = 1) -> None:
        library = onnxruntime()
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        try:
            self._session = library.InferenceSession(
                _Graph(weights, ranges).model(), options, providers=["CPUExecutionProvider"],
                # Its fused kernel takes six times as long as addition and norm apart.
                disabled_optimizers=["SkipLayerNormFusion"],
            )  # fmt: skip
        except Exception as error:  # its own exceptions have no common base
            raise RuntimeError(f"ONNX Runtime can't compute the encoder: {error}") from error
        self._word, self._vectors, self._epsilon = weights.matrices["word"], weights.vectors, weights.shape.epsilon
        self._position, self._head = weights.matrices["position"].floats(), weights.matrices["head"].floats()

    def logits(self, ids: list[list[int]]) -> Floats:
        """(texts, 4): polar and positive of the first language, then of the second. Texts of very different length in
        one call waste time on padding, not correctness."""
        lengths = np.array([len(row) for row in ids], np.int32)
        real = np.arange(lengths.max()) < lengths[:, None]  # (texts, tokens)
        tokens = np.zeros(real.shape, np.int64)
        tokens[real] = np.concatenate([np.asarray(row) for row in ids])
        words = self._word.values[tokens] * self._word.scale[tokens][..., None]
        x = self._norm(words + self._position[: real.shape[1]], "embedding_norm")
        y: Floats = self._session.run(None, {"x": x, "lengths": lengths})[0]
        pooled = (y * real[..., None]).sum(axis=1) / lengths[:, None].astype(np.float32)
        found: Floats = pooled @ self._head.T + self._vectors["head.bias"]
        return found

    def _norm(self, x: Floats, name: str) -> Floats:
        return layer_norm(x, self._vectors[f"{name}.weight"], self._vectors[f"{name}.bias"], self._epsilon)


class _Graph:
    """From embedded tokens "x" (texts, tokens, hidden) and "lengths" (texts,) to the last layer's outputs."""

    def __init__(self, weights: EncoderWeights, ranges: Ranges) -> None:
        self._weights, self._ranges = weights, ranges
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self) -> bytes:
        shape = self._weights.shape
        x = "x"
        for n in range(shape.layers):
            layer = f"layers.{n}"
            qkv = [f"{layer}.{part}" for part in ("query", "key", "value")]
            self._add("Split", [self._linear(x, f"{layer}.qkv")], qkv, axis=2, num_outputs=3)
            mixed = self._add(
                "MultiHeadAttention", [*qkv, "", "lengths"], [f"{layer}.mixed"], _CONTRIB, num_heads=shape.heads
            )
            x = self._norm(x, self._linear(mixed, f"{layer}.out"), f"{layer}.attention_norm")
            up = self._add("Gelu", [self._linear(x, f"{layer}.up")], [f"{layer}.gelu"], _CONTRIB)
            x = self._norm(x, self._linear(up, f"{layer}.down"), f"{layer}.norm")
        floats = ("texts", "tokens", shape.hidden)
        graph = helper.make_graph(
            self._nodes,
            "moods",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, floats),
                helper.make_tensor_value_info("lengths", TensorProto.INT32, ("texts",)),
            ],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, floats)],
            self._constants,
        )
        versions = [helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)]
        return bytes(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString())

    def _add(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **options: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **options))
        return outputs[0]

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _norm(self, x: str, added: str, name: str) -> str:
        vectors = [
            self._constant(f"{name}.{kind}", self._weights.vectors[f"{name}.{kind}"]) for kind in ("weight", "bias")
        ]
        total = self._add("Add", [x, added], [f"{name}.sum"])
        epsilon = self._weights.shape.epsilon
        return self._add("LayerNormalization", [total, *vectors], [f"{name}.y"], axis=-1, epsilon=epsilon)

    def _linear(self, x: str, name: str) -> str:
        matrix, bias = self._weights.matrices[name].floats(), self._weights.vectors[f"{name}.bias"]
        smooth = self._smooth(name)
        if not name.endswith(".out"):  # those are sums of values, which are divided where values are made
            x = self._add("Mul", [x, self._constant(f"{name}.smooth", 1 / smooth)], [f"{name}.smoothed"])
        if name.endswith(".qkv"):
            values = self._smooth(name.removesuffix("qkv") + "out")
            divisor = np.concatenate([np.ones(len(matrix) - len(values), np.float32), values])
            matrix, bias = matrix / divisor[:, None], bias / divisor
        matrix = matrix * smooth
        low, high = self._ranges[name] / smooth
        low, high = min(0.0, float(low.min())), max(0.0, float(high.max()))
        step = np.float32(max(high - low, 1e-6) / _MOST_INPUT)
        zero = np.uint8(round(-low / float(step)))
        scale = np.maximum(np.abs(matrix).max(axis=1), 1e-12).astype(np.float32) / _MOST_WEIGHT
        whole = np.rint(matrix / scale[:, None]).astype(np.int8)
        steps = [
            self._constant(f"{name}.{kind}", np.asarray(value)) for kind, value in (("step", step), ("zero", zero))
        ]
        quantised = self._add("QuantizeLinear", [x, *steps], [f"{name}.quantised"])
        inputs = [
            quantised,
            self._constant(f"{name}.matrix", whole.T),
            steps[0],
            self._constant(f"{name}.scale", scale),
            steps[1],
            self._constant(f"{name}.zeros", np.zeros(len(scale), np.int8)),
            self._constant(f"{name}.bias", bias),
        ]
        return self._add("MatMulIntegerToFloat", inputs, [f"{name}.y"], _CONTRIB)

    def _smooth(self, name: str) -> Floats:
        """(inputs,) what its inputs are divided by, with geometric mean 1."""
        largest = np.abs(self._ranges[name]).max(axis=0)
        weights = np.abs(self._weights.matrices[name].floats()).max(axis=0)
        alpha = _ALPHA[name.rpartition(".")[2]]
        found = _floored(largest) ** alpha / _floored(weights) ** (1 - alpha)
        smooth: Floats = (found / np.exp(np.log(found).mean())).astype(np.float32)
        return smooth


def _floored(values: Floats) -> Floats:
    floored: Floats = np.maximum(values, max(_LEAST * float(values.max()), 1e-9))
    return floored
