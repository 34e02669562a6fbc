"""Watches the encoder read held-back texts: between which values the inputs of its matrices lie. Knows no runtime that
needs it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from models.sentiment.encoder import split
from models.sentiment.encoder_numpy import NumpyRuntime
from models.sentiment.encoder_ranges import Ranges, layer_matrices, save_ranges
from models.sentiment.encoder_weights import EncoderWeights, Floats, load
from models.training.mood_calibrate import calibration_rows
from models.training.mood_corpus import Row, percent_of

TEXTS = 600  # of both languages; more widen the ranges by a text in a hundred
_AT_ONCE = 32


def measure_ranges(rows: Sequence[Row], folder: Path) -> Ranges:
    """Write encoder-ranges.safetensors beside the encoder in `folder`, from some of the calibration rows, by hash."""
    weights = load(folder / "encoder.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    chosen = sorted(calibration_rows(rows), key=lambda row: (percent_of(row.text, "ranges"), row.text))[:TEXTS]
    encoded = tokenizer.encode_batch_fast([row.text for row in chosen], add_special_tokens=False)
    ranges = watched(weights, [window for found in encoded for window in split(found.ids)[0]])
    save_ranges(ranges, folder)
    return ranges


def watched(weights: EncoderWeights, windows: Sequence[list[int]]) -> Ranges:
    """Of every matrix that a token goes through, (2, inputs): the least and the greatest value of each input."""
    names = set(layer_matrices(weights))
    found: dict[str, Floats] = {}

    def watch(name: str, x: Floats) -> None:
        if name not in names:
            return
        here = np.stack([x.min(axis=0), x.max(axis=0)])
        known = found.setdefault(name, here)
        found[name] = np.stack([np.minimum(known[0], here[0]), np.maximum(known[1], here[1])])

    runtime = NumpyRuntime(weights, watch)
    for at in range(0, len(windows), _AT_ONCE):
        runtime.logits(list(windows[at : at + _AT_ONCE]))
    return found
