"""Language models of our own against compressors and outside models on held-out whole titles, in one run. Knows no
Discord.

    python -m benchmarks.language CORPUS --gpt models/weights/gpt --out bench-results

    python -m benchmarks.language CORPUS --gpt models/weights/gpt --languages en --parts ngram

CORPUS is what `inkwell lm train corpus` wrote. Compressors are given the training text first where they can be
(zstd: as a raw dictionary; PPMd: compressed before the test text, whose cost is the difference); xz can't. A baseline
whose package is missing is named and left out.
"""

import argparse
import json
import lzma
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import kenlm
from models.language.gpt import GPT
from models.language.mixture import HouseVoice
from models.language.ngram import NGram
from models.training import evaluate
from models.training.evaluate import Family, Prediction, TrainingText
from models.training.families import NGramFamily, TokenFamily

ORDERS = {"en": [8, 10], "zh": [5]}  # of the character n-grams
TOKEN_ORDER = 6
DEVELOPMENT = 150_000  # characters on which discounts and mixture weights are fitted
PARTS = ("compressors", "ngram", "kenlm", "gpt", "samples")
PPMD_PRIMING = 20_000_000  # bytes; PPMd's memory below holds about that much
PROMPTS = {
    "en": [
        "Once upon a time there lived a fox who",
        "The old captain looked at the sea and said,",
        '"Who are you?" asked the princess.',
        "At the edge of the dark wood there stood",
        "In the morning the king's daughter",
    ],
    "zh": ["从前有一个", "那日天色已晚，", "他抬头望了一望天，", "却说那老人", "次日清晨，"],
}


def compressors(train: str, text: str) -> dict[str, float]:
    """Bits of `text` by each compressor that is installed."""
    raw, primer = text.encode(), train.encode()[-PPMD_PRIMING:]
    found = {"xz -9": 8.0 * len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))}
    try:
        import zstandard

        dictionary = zstandard.ZstdCompressionDict(primer, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=27, enable_ldm=True)
        compressor = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
        found["zstd -19, training text as dictionary"] = 8.0 * len(compressor.compress(raw))
    except ImportError:
        print("zstandard isn't installed: left out")
    try:
        import pyppmd

        def size(data: bytes) -> int:
            encoder = pyppmd.Ppmd7Encoder(max_order=8, mem_size=1_500 << 20)
            return len(encoder.encode(data)) + len(encoder.flush())

        found["PPMd order 8, primed (adapts)"] = 8.0 * (size(primer + raw) - size(primer))
    except ImportError:
        print("pyppmd isn't installed: left out")
    return found


class RememberedGPT(GPT):
    """Scores each row of tokens once: four families below ask for the same ones."""

    def __init__(self, gpt: GPT) -> None:
        super().__init__(gpt.model, gpt.tokenizer)
        self._known: dict[tuple[int, ...], Tensor] = {}

    def token_log_probabilities(self, ids: list[int], *, stride: int | None = None, batch: int = 8) -> Tensor:
        key = (stride or 0, *ids)
        if key not in self._known:
            self._known[key] = super().token_log_probabilities(ids, stride=stride, batch=batch)
        return self._known[key]


def timed(label: str, work: Callable[[], None], timings: dict[str, float]) -> None:
    begin = time.process_time()
    work()
    timings[label] = round(time.process_time() - begin, 2)


def speed_of_ngram(train: str) -> dict[str, float]:
    """CPU-seconds to learn 5 MB and characters sampled per CPU-second, on one core."""
    timings: dict[str, float] = {}
    model = NGram(order=7)
    timed(
        "n-gram order 7 learns 5 MB (CPU-s)",
        lambda: model.add(train.encode()[:5_000_000].decode(errors="ignore")),
        timings,
    )
    begin = time.process_time()
    model.sample("The king", max_symbols=5_000, seed=1)
    timings["n-gram samples (characters per CPU-s)"] = round(5_000 / (time.process_time() - begin))
    return timings


def compressed(train: str, texts: dict[str, str]) -> list[Prediction]:
    return [
        Prediction(family=family, text=name, bits_per_character=bits / len(text),
                   bits_per_byte=bits / len(text.encode()), perplexity=2 ** (bits / len(text)))
        for name, text in texts.items() for family, bits in compressors(train, text).items()
    ]  # fmt: skip


def ngrams(
    train: str, dev: str, texts: dict[str, str], orders: list[int], timings: dict[str, float], language: str
) -> tuple[list[Prediction], NGram]:
    """Kneser-Ney at every order, with estimated and fitted discounts, and Witten-Bell at the lowest; and the last."""
    found: list[Prediction] = []
    for order in orders:
        for smoothing in ("witten-bell", "kneser-ney") if order == orders[0] else ("kneser-ney",):
            model = NGram(order=order, smoothing=smoothing)
            timed(f"{smoothing} order {order} learns {language}", lambda: model.add(train), timings)  # noqa: B023
            found += evaluate.predict(f"{smoothing} n-gram, order {order}", NGramFamily(model), texts)
        timed(f"discounts of order {order} fitted, {language}", lambda: model.fit_discounts(dev), timings)  # noqa: B023
        found += evaluate.predict(f"kneser-ney n-gram, order {order}, fitted discounts", NGramFamily(model), texts)
        print(evaluate.as_table(found), flush=True)
    return found, model


def neural(gpt: GPT, train: str, dev: str, texts: dict[str, str]) -> tuple[list[Prediction], HouseVoice]:
    """The GPT, alone and in every mixture; and the frozen mixture."""
    found = evaluate.predict("GPT", TokenFamily(gpt), texts)
    print(evaluate.as_table(found), flush=True)
    tokens = NGram(order=TOKEN_ORDER, unit="token", tokens=gpt.model.config.vocab_size)
    for begin in range(0, len(train), 4_000_000):  # in pieces: tokenising holds a whole text in memory
        tokens.add_symbols(gpt.encode(train[begin : begin + 4_000_000]))
    voices = {
        "GPT + text so far": HouseVoice(gpt, learns=True),
        "mixture: GPT + token n-gram": HouseVoice(gpt, [tokens]),
        "mixture + text so far": HouseVoice(gpt, [tokens], learns=True),
    }
    for family, voice in voices.items():
        voice.fit([dev])
        found += evaluate.predict(family, TokenFamily(voice), texts)
    return found, voices["mixture: GPT + token n-gram"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--gpt", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--limit", type=int, default=0, help="characters per held-out title; 0 for all")
    parser.add_argument("--kenlm", type=Path, help="folder with KenLM's lmplz and query")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--languages", nargs="+", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    read = {name: (arguments.corpus / f"{name}.txt").read_text(encoding="utf-8")
            for language in arguments.languages for name in (f"train-{language}", f"dev-{language}")}  # fmt: skip
    torch.set_num_threads(arguments.threads)
    gpt = RememberedGPT(GPT.load(arguments.gpt))
    timings: dict[str, float] = {}
    if "ngram" in arguments.parts:
        timings |= speed_of_ngram(read[f"train-{arguments.languages[0]}"])
    if "gpt" in arguments.parts:
        begin = time.process_time()
        produced = sum(1 for _ in gpt.stream("Once upon a time", max_new_tokens=400, temperature=1, seed=1))
        timings["GPT streams (tokens per CPU-s)"] = round(produced / (time.process_time() - begin), 1)
    predictions: list[Prediction] = []
    writings = []
    samples: dict[str, list[str]] = {}
    for language in arguments.languages:
        train, dev = read[f"train-{language}"], read[f"dev-{language}"][:DEVELOPMENT]
        texts = {path.stem.split("--")[1]: path.read_text(encoding="utf-8")[: arguments.limit or None]
                 for path in sorted((arguments.corpus / "test" / language).glob("*.txt"))}  # fmt: skip
        found: list[Prediction] = []
        judged: dict[str, Family] = {}
        if "compressors" in arguments.parts:
            found += compressed(train, texts)
        if "ngram" in arguments.parts:
            rows, best = ngrams(train, dev, texts, ORDERS[language], timings, language)
            found += rows
            judged[f"n-gram ({language})"] = NGramFamily(best)
        if "kenlm" in arguments.parts and arguments.kenlm:
            found += kenlm.score(arguments.kenlm, train, texts, order=ORDERS[language][-1])
        if "gpt" in arguments.parts:
            rows, mixture = neural(gpt, train, dev, texts)
            found += rows
            judged |= {f"GPT ({language})": TokenFamily(gpt), f"mixture ({language})": TokenFamily(mixture)}
        print(evaluate.as_table(found), flush=True)
        predictions += found
        if "samples" in arguments.parts:
            training = TrainingText(train)
            for family, model in judged.items():
                writing, texts_written = evaluate.write(family, model, PROMPTS[language], training)
                writings.append(writing)
                samples[family] = texts_written
                print(writing, flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "language.json").write_text(evaluate.as_json(predictions, writings), encoding="utf-8")
    (arguments.out / "language.md").write_text(evaluate.as_table(predictions) + "\n", encoding="utf-8")
    (arguments.out / "language-speed.json").write_text(json.dumps(timings, indent=1), encoding="utf-8")
    (arguments.out / "language-samples.json").write_text(
        json.dumps(samples, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    print(json.dumps(timings, indent=1))


if __name__ == "__main__":
    main()
