"""markovify and nltk.lm as outside baselines of the n-gram model: the same text, order and machine. Knows nothing of
the other families.

    python -m benchmarks.outside_ngrams CORPUS

markovify (word chains without smoothing) gives no probability to what it has not seen, so only its speed is compared.
nltk.lm counts in Python dictionaries; its quality is compared on a sample that it can hold, over characters, with
interpolated Witten-Bell, which is the same formula as ours, and with its Kneser-Ney, which has one fixed discount and
scores so slowly that only the first characters of each title are read.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.language.ngram import NGram

LEARNED = 5_000_000  # bytes for the speed rows
SAMPLE = 500_000  # characters that nltk.lm learns
SCORED = {"witten-bell": 5_000, "kneser-ney": 1_000}  # characters of each held-out title
ORDER = 5
WRITTEN = 20_000  # characters


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def speed(train: str) -> dict[str, float]:
    """CPU-seconds to learn 5 MB and characters written per CPU-second: markovify's word pairs, ours over words and over
    characters."""
    text = train.encode()[:LEARNED].decode(errors="ignore")
    found: dict[str, float] = {}

    def learned(name: str, build: Callable[[], Any]) -> Any:
        seconds, model = _timed(build)
        found[f"{name} learns 5 MB (CPU-s)"] = round(seconds, 2)
        return model

    def writes(name: str, write: Callable[[], int]) -> None:
        seconds, characters = _timed(write)
        found[f"{name} writes (characters per CPU-s)"] = round(characters / seconds)

    def ours(unit: Any, order: int) -> NGram:
        model = NGram(order=order, unit=unit)
        model.add(text)
        return model

    try:
        import markovify

        chain = learned("markovify, state size 2", lambda: markovify.Text(text, state_size=2))

        def sentences() -> int:
            random.seed(1)
            characters = 0
            while characters < WRITTEN:
                characters += len(chain.make_sentence(test_output=False) or "")
            return characters

        writes("markovify, state size 2", sentences)
    except ImportError:
        print("markovify isn't installed: left out")
    words = learned("n-gram over words, order 5", lambda: ours("word", 5))  # two words and the spaces between them
    writes("n-gram over words, order 5", lambda: len(words.sample("The king", max_symbols=WRITTEN // 4, seed=1)))
    characters = learned("n-gram over characters, order 7", lambda: ours("character", 7))
    writes("n-gram over characters, order 7", lambda: len(characters.sample("The king", max_symbols=WRITTEN, seed=1)))
    return found


def quality(train: str, texts: dict[str, str]) -> dict[str, float]:
    """Bits per character of the beginning of each title, by nltk.lm and by ours, both taught the same sample; and what
    it cost."""
    found: dict[str, float] = {}
    sample = train[:SAMPLE]
    for smoothing, scored in SCORED.items():
        seconds, model = _timed(lambda smoothing=smoothing: _ours(sample, smoothing))
        found[f"n-gram, {smoothing}: learns the sample (CPU-s)"] = round(seconds, 2)
        seconds, bits = _timed(
            lambda model=model, scored=scored: {name: model.score(text[:scored]) for name, text in texts.items()}
        )
        for name, score in bits.items():
            found[f"n-gram, {smoothing}: {name}"] = round(score.bits_per_character, 4)
            assert not score.unknown, f"{name} has characters that the sample lacks: nltk would count them otherwise"
        found[f"n-gram, {smoothing}: characters scored per CPU-s"] = round(len(texts) * scored / seconds)
    try:
        from nltk import lm
        from nltk.util import everygrams
    except ImportError:
        print("nltk isn't installed: left out")
        return found
    seen = sorted(set(sample))
    grams = [list(everygrams(sample, max_len=ORDER))]
    for name, kind in (("witten-bell", lm.WittenBellInterpolated), ("kneser-ney", lm.KneserNeyInterpolated)):
        scored = SCORED[name]
        model = kind(ORDER)
        seconds, _ = _timed(lambda model=model: model.fit(grams, vocabulary_text=seen))
        found[f"nltk.lm, {name}: learns the sample (CPU-s)"] = round(seconds, 2)
        begin = time.process_time()
        for title, text in texts.items():
            piece = text[:scored]
            bits = -sum(
                math.log2(model.score(symbol, tuple(piece[max(0, at - ORDER + 1) : at])))
                for at, symbol in enumerate(piece)
            )
            found[f"nltk.lm, {name}: {title}"] = round(bits / len(piece), 4)
        found[f"nltk.lm, {name}: characters scored per CPU-s"] = round(
            len(texts) * scored / (time.process_time() - begin), 1
        )
    return found


def _ours(sample: str, smoothing: Any) -> NGram:
    model = NGram(order=ORDER, smoothing=smoothing)
    model.add(sample)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    arguments = parser.parse_args()
    train = (arguments.corpus / "train-en.txt").read_text(encoding="utf-8")
    texts = {path.stem.split("--")[1]: path.read_text(encoding="utf-8")
             for path in sorted((arguments.corpus / "test" / "en").glob("*.txt"))}  # fmt: skip
    found = speed(train) | quality(train, texts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "outside-ngrams.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
