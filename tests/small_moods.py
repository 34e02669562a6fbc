"""A folder of real but tiny mood weights: linear models fitted on forty lines, and an encoder with random weights."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import Unigram

from models.sentiment.calibration import Calibration, Stage, save_calibrations
from models.sentiment.encoder_ranges import Ranges, save_ranges
from models.sentiment.encoder_weights import EncoderWeights, Shape, from_state, save
from models.sentiment.features import BITS
from models.sentiment.linear import save_linear
from models.training.mood_ranges import watched

SHAPE = Shape(vocabulary=260, hidden=16, layers=2, heads=2, feed_forward=32, positions=300, epsilon=1e-6)


def random_encoder(seed: int = 1) -> EncoderWeights:
    generator = np.random.default_rng(seed)

    def drawn(*size: int) -> np.ndarray:
        return generator.normal(0, 0.4, size).astype(np.float32)

    hidden, up = SHAPE.hidden, SHAPE.feed_forward
    state = {
        "word.weight": drawn(SHAPE.vocabulary, hidden),
        "position.weight": drawn(SHAPE.positions, hidden),
        "head.weight": drawn(4, hidden),
        "head.bias": drawn(4),
    }
    sizes = {"qkv": (3 * hidden, hidden), "out": (hidden, hidden), "up": (up, hidden), "down": (hidden, up)}
    norms = ["embedding_norm"]
    for n in range(SHAPE.layers):
        for name, size in sizes.items():
            state[f"layers.{n}.{name}.weight"] = drawn(*size)
            state[f"layers.{n}.{name}.bias"] = drawn(size[0])
        norms += [f"layers.{n}.attention_norm", f"layers.{n}.norm"]
    for name in norms:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + drawn(hidden) / 4, drawn(hidden)
    return from_state(SHAPE, state)


def small_ranges() -> Ranges:
    """What the random encoder's matrices meet in texts of random pieces."""
    generator = np.random.default_rng(4)
    windows = [[0, *generator.integers(4, SHAPE.vocabulary, length).tolist(), 2] for length in (3, 8, 20, 60, 100)]
    return watched(random_encoder(), windows)


def small_tokenizer() -> Tokenizer:
    """A piece for every printable ASCII character, and <unk> for the rest."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -1.0)]
    pieces += [(chr(code), -2.0) for code in range(33, 127)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def write_small_moods(folder: Path) -> Path:
    """All files but naive Bayes's. The linear weights are random; nothing here judges well, and no test says so."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(2)
    for language in ("en", "zh"):
        stages = [(generator.normal(0, 2, 1 << BITS), 0.1 * n) for n in range(2)]
        save_linear(folder / f"linear-{language}.safetensors", stages)
    save(random_encoder(), folder / "encoder.safetensors")
    save_ranges(small_ranges(), folder)
    small_tokenizer().save(str(folder / "tokenizer.json"))
    own = {
        language: Calibration(polar=Stage(weights=(0.9,), bias=0.1), positive=Stage(weights=(0.8,), bias=-0.1),
                              sure_from=0.6)
        for language in ("en", "zh")
    }  # fmt: skip
    both = {
        language: Calibration(polar=Stage(weights=(0.2, 0.5, 0.5), bias=0.1),
                              positive=Stage(weights=(0.2, 0.4, 0.4), bias=0.0), sure_from=0.6)
        for language in ("en", "zh")
    }  # fmt: skip
    save_calibrations({"linear": own, "encoder": own, "default": both}, folder / "calibration.json")
    return folder
