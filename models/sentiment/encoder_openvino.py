"""The encoder's arithmetic in OpenVINO, whose CPU kernels use int8 or bfloat16 where the processor has them. Knows no
text; the graph is written here op by op, so that no file of another form and no torch is needed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.sentiment.encoder_weights import EncoderWeights, Floats, Quantised
from models.serving.quiet_runtimes import openvino

ov = openvino()
op = ov.opset13

PAD = 1


class OpenVinoRuntime:
    """Raises RuntimeError where OpenVINO can't compile for this processor."""

    name = "openvino"
    batch_tokens = 1024  # more gains nothing on one core and only holds memory

    def __init__(self, weights: EncoderWeights, *, threads: int = 1, settings: dict[str, Any] | None = None) -> None:
        chosen = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = ov.Core().compile_model(_graph(weights), "CPU", {**chosen, **(settings or {})})
        self._request = self._compiled.create_infer_request()

    def logits(self, ids: list[list[int]]) -> Floats:
        """(texts, 4): polar and positive of the first language, then of the second. Texts of very different length in
        one call waste time on padding, not correctness."""
        padded = np.full((len(ids), max(map(len, ids))), PAD, np.int32)
        for row, tokens in zip(padded, ids, strict=True):
            row[: len(tokens)] = tokens
        result: NDArray[np.float32] = self._request.infer([padded])[0]
        return result.copy()


def computes_bf16() -> bool:
    """Whether the processor has bfloat16 arithmetic."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _graph(weights: EncoderWeights) -> Any:
    shape = weights.shape
    size = shape.hidden // shape.heads

    def floats(value: Any) -> Any:
        return op.constant(np.asarray(value, np.float32))

    def ints(*values: int) -> Any:
        return op.constant(np.asarray(values, np.int64))

    def dequantised(matrix: Quantised) -> Any:
        whole = op.convert(op.constant(matrix.values), np.float32)
        return op.multiply(whole, floats(matrix.scale[:, None]))

    def linear(x: Any, name: str) -> Any:
        product = op.matmul(x, dequantised(weights.matrices[name]), False, True)
        return op.add(product, floats(weights.vectors[f"{name}.bias"]))

    def norm(x: Any, name: str) -> Any:
        scaled = op.mvn(x, ints(-1), True, shape.epsilon, "inside_sqrt")
        scaled = op.multiply(scaled, floats(weights.vectors[f"{name}.weight"]))
        return op.add(scaled, floats(weights.vectors[f"{name}.bias"]))

    def gathered(name: str, places: Any) -> Any:
        matrix = weights.matrices[name]
        rows = op.convert(op.gather(op.constant(matrix.values), places, ints(0)), np.float32)
        return op.multiply(rows, op.unsqueeze(op.gather(floats(matrix.scale), places, ints(0)), ints(-1)))

    ids = op.parameter([-1, -1], np.int32, name="ids")
    length = op.squeeze(op.gather(op.shape_of(ids), ints(1), ints(0)), ints(0))
    places = op.range(op.constant(np.int64(0)), length, op.constant(np.int64(1)), "i64")
    x = norm(op.add(gathered("word", ids), gathered("position", places)), "embedding_norm")
    real = op.not_equal(ids, op.constant(np.int32(PAD)))
    mask = op.unsqueeze(op.select(real, floats(0.0), floats(-1e4)), ints(1, 2))  # (batch, 1, 1, length)
    for n in range(shape.layers):
        name = f"layers.{n}"
        split = op.reshape(linear(x, f"{name}.qkv"), ints(0, 0, 3 * shape.heads, size), True)
        query, key, value = op.split(op.transpose(split, ints(0, 2, 1, 3)), op.constant(np.int64(1)), 3).outputs()
        mixed = op.scaled_dot_product_attention(query, key, value, mask)
        joined = op.reshape(op.transpose(mixed, ints(0, 2, 1, 3)), ints(0, 0, shape.hidden), True)
        x = norm(op.add(x, linear(joined, f"{name}.out")), f"{name}.attention_norm")
        x = norm(op.add(x, linear(op.gelu(linear(x, f"{name}.up"), "erf"), f"{name}.down")), f"{name}.norm")
    weight = op.unsqueeze(op.convert(real, np.float32), ints(-1))
    total = op.reduce_sum(op.multiply(x, weight), ints(1))
    pooled = op.divide(total, op.reduce_sum(weight, ints(1)))
    return ov.Model([linear(pooled, "head")], [ids], "moods")
