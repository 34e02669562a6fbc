"""Real, tiny verse generators with random weights, for tests that need no trained ones and no torch."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from models.gan.verse_forms import PLACES, Language
from models.gan.verse_forward import shapes
from models.gan.verse_weights import CONFIG, Config, LanguageConfig, pieces_name, weights_name
from models.serving.short_requests import GeneratorKind

PIECES: dict[Language, tuple[str, ...]] = {
    "zh": ("\n", *"春花秋月何时了往事知多少小楼昨夜又东风故国不堪回首明中"),
    "en": ("\n", ",", ".", "the", "moon", "I", "Rome", "n", "##ight", "##s", "and", "of", "love", "star", "sea", "m"),
}
EMBEDDING, HIDDEN = 6, 8
KINDS: tuple[GeneratorKind, ...] = ("likelihood", "adversarial")


def write_tiny_verses(folder: Path, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    names: list[str] = []
    for language, pieces in PIECES.items():
        (folder / pieces_name(language)).write_bytes(msgspec.json.encode(pieces))
        names.append(pieces_name(language))
        for kind in KINDS:
            weights = {
                name: random.standard_normal(shape).astype(np.float16)
                for name, shape in shapes(len(pieces), PLACES[language], EMBEDDING, HIDDEN).items()
            }
            save_file(weights, folder / weights_name(kind, language))
            names.append(weights_name(kind, language))
    one = LanguageConfig(
        default="likelihood",
        temperatures={"likelihood": 0.9, "adversarial": 1.0},
        embedding=EMBEDDING,
        hidden=HIDDEN,
    )
    sha256 = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    config = Config(languages={"zh": one, "en": one}, sha256=sha256)
    (folder / CONFIG).write_bytes(msgspec.json.encode(config))
    return folder
