"""The encoder tier: tokens, windows and batches around the encoder's arithmetic. Knows no calibration.

A text longer than a window is read in windows and its log odds are the average over them, by length; at most
`MAX_WINDOWS`, evenly spread, with the note "cut" where some were left out.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.sentiment.encoder_ranges import RANGES_FILE, Ranges, load_ranges
from models.sentiment.encoder_weights import EncoderWeights, Floats, load
from models.sentiment.scorer import ModelLanguage, Prepared, Scores
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import MoodNote

log = logging.getLogger(__name__)

LANGUAGES: tuple[ModelLanguage, ...] = ("en", "zh")
WINDOW = 130  # tokens, with <s> and </s>: as long as what it was trained on; longer ones are judged worse
MAX_WINDOWS = 48  # about 6,000 tokens
_BEGIN, _END = 0, 2


class Runtime(Protocol):
    """The net's arithmetic. `batch_tokens`, padding counted, are what it takes best at once."""

    name: str
    batch_tokens: int

    def logits(self, ids: list[list[int]]) -> Floats:
        """Token ids with <s> and </s> -> (texts, 4): polar and positive of English, then of Chinese."""


class EncoderScorer:
    """Texts of like length share a batch; each row's arithmetic depends on its own tokens only."""

    def __init__(self, tokenizer: Tokenizer, runtime: Runtime, version: str) -> None:
        self._tokenizer = tokenizer
        self._runtime = runtime
        self.version = version

    @property
    def runtime(self) -> str:
        return self._runtime.name

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        found = self._tokenizer.encode_batch_fast([text.text for text in texts], add_special_tokens=False)
        windows: list[list[int]] = []
        owners: list[int] = []
        notes: list[tuple[MoodNote, ...]] = [()] * len(texts)
        for n, encoding in enumerate(found):
            pieces, whole = split(encoding.ids)
            windows += pieces
            owners += [n] * len(pieces)
            if not whole:
                notes[n] = ("cut",)
        raw = self._in_batches(windows)
        weights = np.array([len(window) for window in windows], np.float64)
        total = np.zeros((len(texts), 4))
        np.add.at(total, owners, raw * weights[:, None])
        average = (total / np.bincount(owners, weights, len(texts))[:, None]).reshape(-1, len(LANGUAGES), 2)
        own = [LANGUAGES.index(text.language) for text in texts]
        return Scores(logits=average[np.arange(len(texts)), own], evidence=[()] * len(texts), notes=notes)

    def _in_batches(self, windows: list[list[int]]) -> NDArray[np.float64]:
        order = sorted(range(len(windows)), key=lambda n: len(windows[n]))
        logits = np.zeros((len(windows), 4))
        batch: list[int] = []
        for n in order:
            if batch and len(windows[n]) * (len(batch) + 1) > self._runtime.batch_tokens:
                logits[batch] = self._runtime.logits([windows[m] for m in batch])
                batch = []
            batch.append(n)
        if batch:
            logits[batch] = self._runtime.logits([windows[m] for m in batch])
        return logits


def split(ids: list[int]) -> tuple[list[list[int]], bool]:
    """Windows of about the same length with their <s> and </s>, and whether they hold all of `ids`."""
    size = WINDOW - 2
    count = max(1, -(-len(ids) // size))
    each = -(-len(ids) // count)
    starts = [n * each for n in range(count)]
    whole = count <= MAX_WINDOWS
    if not whole:
        starts = [starts[n * (count - 1) // (MAX_WINDOWS - 1)] for n in range(MAX_WINDOWS)]
    return [[_BEGIN, *ids[start : start + each], _END] for start in starts], whole


def load_encoder(folder: Path, *, runtime: str = "") -> EncoderScorer:
    """From encoder.safetensors and tokenizer.json, and encoder-ranges.safetensors where it is. `runtime` "numpy",
    "onnxruntime" or "openvino" insists; else it is the fastest that runs. Raises ShortModelMissingError when the
    weights aren't there."""
    weights_file, tokenizer_file = folder / "encoder.safetensors", folder / "tokenizer.json"
    try:
        weights = load(weights_file)
        tokenizer = Tokenizer.from_buffer(tokenizer_file.read_bytes())
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ShortModelMissingError(f"The encoder's weights in {folder} can't be read ({error}).") from error
    digest = hashlib.sha256(weights_file.read_bytes())
    ranges = load_ranges(folder / RANGES_FILE, weights, digest.hexdigest())
    digest.update(tokenizer_file.read_bytes())
    return EncoderScorer(tokenizer, _runtime(weights, ranges, runtime), f"encoder@{digest.hexdigest()[:8]}")


def _openvino(weights: EncoderWeights, ranges: Ranges | None) -> Runtime:
    from models.sentiment.encoder_openvino import OpenVinoRuntime

    return OpenVinoRuntime(weights)


def _onnxruntime(weights: EncoderWeights, ranges: Ranges | None) -> Runtime:
    if ranges is None:
        raise RuntimeError(f"There is no {RANGES_FILE} of this encoder, which integer arithmetic needs.")
    from models.sentiment.encoder_onnx import OnnxRuntime

    return OnnxRuntime(weights, ranges)


def _numpy(weights: EncoderWeights, ranges: Ranges | None) -> Runtime:
    from models.sentiment.encoder_numpy import NumpyRuntime

    return NumpyRuntime(weights)


_RUNTIMES: dict[str, Callable[[EncoderWeights, Ranges | None], Runtime]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "numpy": _numpy,
}


def _runtime(weights: EncoderWeights, ranges: Ranges | None, wanted: str) -> Runtime:
    if wanted:
        return _RUNTIMES[wanted](weights, ranges)
    for name in _fastest_first():
        try:
            return _RUNTIMES[name](weights, ranges)
        except (ImportError, RuntimeError) as error:  # no wheel for this machine, or no kernel for its processor
            log.info("the encoder of moods can't compute by %s: %s", name, error)
    return _numpy(weights, ranges)


def _fastest_first() -> tuple[str, ...]:
    return ("openvino", "onnxruntime") if _computes_bf16() else ("onnxruntime", "openvino")


def _computes_bf16() -> bool:
    """Whether the processor has bfloat16 arithmetic, which more than doubles what float32 reaches."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:  # no Linux: OpenVINO knows, but takes half a second and 46 MB to say
        try:
            from models.sentiment.encoder_openvino import computes_bf16

            return computes_bf16()
        except (ImportError, RuntimeError):
            return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
