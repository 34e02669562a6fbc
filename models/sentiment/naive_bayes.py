"""Method 3, the labelled language model: how likely would each class have written the text? Knows no corpus and doesn't
train (models/training/mood_naive_bayes.py does).

Two stages, neutral or polar and then negative or positive, because most corpora have no neutral texts and can't speak
for that class. Each stage sums two log-likelihood ratios of its classes:

- bag: multinomial naive Bayes over n-grams of units and character n-grams of words, each counted once a text (Wang and
  Manning 2012, "binarised"), in a hashed table of log p(f|a) / p(f|b);
- language model: P(w | h, class) of n-grams, smoothed towards the shorter history with a Dirichlet prior (MacKay and
  Peto 1995, eq. 8): (c(h w) + k P(w | h')) / (c(h) + k); where no class has met h w often enough, P(w | h').

The sums, each divided by the root of its terms (independence is false, and a long text is not so sure), go through a
logistic regression fitted on held-back rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import exp
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from models.sentiment.answer import answer
from models.sentiment.reading import Reading, read
from models.sentiment.score_map import Probabilities
from models.sentiment.text_units import Hashes, Unit, character_hashes, ngram_hashes, unit_hash, units_of
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import Evidence, Method, Mood

CorpusLanguage = Literal["en", "zh"]
Part = Literal["both", "bag", "language_model"]
Floats = npt.NDArray[np.float64]

_FORMAT = "inkwell-naive-bayes-1"
COUNT_STEPS = 16.0  # a count c is stored as round(16 ln(1 + c)), at most 255: within 3 %
STAGES = ("polar_or_neutral", "positive_or_negative")
# Columns of the language model's counts. The first two are of three-class corpora only.
CLASSES = ("neutral", "polar", "negative", "positive")
_FIXED = 2.0**20  # sums are taken of whole numbers, so that no order of adding changes an answer
_SMALLEST_EVIDENCE = 0.35
_LONGER_SAYS_MORE = 0.1  # of two n-grams that decide about as much the longer one is shown
_TEXTS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class LanguageTables:
    """All numbers of one language.

    `bag` (2, 2**bits) int8, times `bag_scale` (2,): the log ratios of the two stages, positive for polar and for
    positive. `keys` (n,) uint32 sorted, `counts` (n, 4) uint8: the n-grams of the language model and their stored
    counts by class. `totals` (4,) units read, `vocabulary` distinct units, `priors` k by order. `weights` (2, 3) of
    each stage's regression: bias, bag, language model.
    """

    bag: npt.NDArray[np.int8]
    bag_scale: npt.NDArray[np.float32]
    keys: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.uint8]
    totals: Floats
    vocabulary: int
    bag_orders: int
    model_orders: int
    priors: tuple[float, ...]
    weights: tuple[tuple[float, float, float], ...]

    @property
    def bits(self) -> int:
        return int(self.bag.shape[1]).bit_length() - 1


@dataclass(frozen=True)
class Batch:
    """Units of several texts in a row."""

    units: list[list[Unit]]
    hashes: Hashes
    texts: npt.NDArray[np.int64]


def batch_of(readings: Sequence[Reading]) -> Batch:
    units = [units_of(reading) for reading in readings]
    hashes = np.array([unit_hash(unit.form) for row in units for unit in row], dtype=np.uint64)
    return Batch(units, hashes, np.repeat(np.arange(len(units)), [len(row) for row in units]))


def buckets_of(batch: Batch, orders: int, bits: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Features of the bag as (text numbers, buckets), for each order of n-grams and then for character n-grams; an
    n-gram that doesn't exist at its place is left out."""
    found = []
    for order in range(1, orders + 1):
        hashes = ngram_hashes(batch.hashes, batch.texts, order)
        real = hashes != 0
        found.append((batch.texts[real], (hashes[real] >> np.uint64(64 - bits)).astype(np.int64)))
    flat = [(number, h) for number, row in enumerate(batch.units) for unit in row for h in character_hashes(unit.form)]
    numbers = np.array([number for number, _ in flat], dtype=np.int64)
    hashes = np.array([h for _, h in flat], dtype=np.uint64)
    found.append((numbers, (hashes >> np.uint64(64 - bits)).astype(np.int64)))
    return found


def bag_scores(tables: LanguageTables, batch: Batch) -> Floats:
    """(texts, 2): the log ratios of each text's distinct features, over the root of their number."""
    features = buckets_of(batch, tables.bag_orders, tables.bits)
    pairs = np.unique(np.concatenate([numbers << tables.bits | buckets for numbers, buckets in features]))
    numbers, buckets = pairs >> tables.bits, pairs & ((1 << tables.bits) - 1)
    ratios = tables.bag[:, buckets].T.astype(np.float64) * tables.bag_scale.astype(np.float64)
    return _sums(ratios, numbers, len(batch.units))


def model_scores(tables: LanguageTables, batch: Batch) -> Floats:
    """(texts, 2): log P(text | polar) / P(text | neutral) and log P(text | positive) / P(text | negative), over the
    root of the number of units."""
    history = np.broadcast_to(tables.totals, (len(batch.hashes), 4))
    probability = np.full((len(batch.hashes), 4), 1.0 / tables.vocabulary)
    for order in range(1, tables.model_orders + 1):
        hashes = ngram_hashes(batch.hashes, batch.texts, order)
        count, kept = _counts(tables, hashes)
        prior = tables.priors[order - 1]
        longer = (count + prior * probability) / (history + prior)
        # An n-gram that is in no table was rare or was left out to save room, so its history's count says too much:
        # every class backs off, or the class that knows the history well would be punished for it.
        probability = np.where(kept[:, None], longer, probability)
        # The n-gram that ends at a unit is the history of the next unit.
        history = np.vstack([np.zeros((1, 4)), count[:-1]])
    logs = np.log(probability)
    return _sums(logs[:, [1, 3]] - logs[:, [0, 2]], batch.texts, len(batch.units))


def _counts(tables: LanguageTables, hashes: Hashes) -> tuple[Floats, npt.NDArray[np.bool_]]:
    keys = (hashes >> np.uint64(32)).astype(np.uint32)
    at = np.minimum(np.searchsorted(tables.keys, keys), max(len(tables.keys) - 1, 0))
    counts = np.expm1(tables.counts[at].astype(np.float64) / COUNT_STEPS)
    kept = (tables.keys[at] == keys) & (hashes != 0)
    counts[~kept] = 0.0
    return counts, kept


def _sums(ratios: Floats, numbers: npt.NDArray[np.int64], texts: int) -> Floats:
    fixed = np.round(ratios * _FIXED).astype(np.int64)
    sums = np.zeros((texts, fixed.shape[1]), dtype=np.int64)
    np.add.at(sums, numbers, fixed)
    terms = np.maximum(np.bincount(numbers, minlength=texts), 1)
    return sums / _FIXED / np.sqrt(terms)[:, None]


def probabilities_of(tables: LanguageTables, bag: Floats, model: Floats, part: Part) -> list[Probabilities]:
    """A part alone is weighed as much as both together."""
    found = []
    for bag_row, model_row in zip(bag, model, strict=True):
        sides = []
        for stage, (bias, bag_weight, model_weight) in enumerate(tables.weights):
            logit = bias + bag_weight * bag_row[stage] + model_weight * model_row[stage]
            if part == "bag":
                logit = bias + (bag_weight + model_weight) * bag_row[stage]
            elif part == "language_model":
                logit = bias + (bag_weight + model_weight) * model_row[stage]
            sides.append(1.0 / (1.0 + exp(-max(-30.0, min(30.0, float(logit))))))
        polar, positive = sides
        negative = polar * (1.0 - positive)
        found.append((negative, 1.0 - polar, 1.0 - negative - (1.0 - polar)))
    return [(negative, neutral, max(0.0, positive)) for negative, neutral, positive in found]


class NaiveBayes:
    """The third way to read a mood."""

    name: Method = "naive_bayes"

    def __init__(self, tables: dict[CorpusLanguage, LanguageTables], version: str, part: Part = "both") -> None:
        self.tables = tables
        self.version = version
        self._part: Part = part

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        readings = [read(text) for text in texts]
        moods: dict[int, Mood] = {}
        for language in ("en", "zh"):
            chosen = [n for n, reading in enumerate(readings) if (reading.language == "zh") == (language == "zh")]
            for start in range(0, len(chosen), _TEXTS_AT_ONCE):
                some = chosen[start : start + _TEXTS_AT_ONCE]
                answers = self._moods([readings[n] for n in some], self.tables["zh" if language == "zh" else "en"])
                moods.update(zip(some, answers, strict=True))
        return [moods[n] for n in range(len(texts))]

    def _moods(self, readings: list[Reading], tables: LanguageTables) -> list[Mood]:
        batch = batch_of(readings)
        probabilities = probabilities_of(tables, bag_scores(tables, batch), model_scores(tables, batch), self._part)
        evidence = _evidence(tables, batch, readings)
        return [
            answer(reading, p, method=self.name, version=self.version, evidence=pieces)
            for reading, p, pieces in zip(readings, probabilities, evidence, strict=True)
        ]


def _evidence(tables: LanguageTables, batch: Batch, readings: list[Reading]) -> list[list[Evidence]]:
    """The n-grams of the bag with the largest log ratios of positive to negative, none over another."""
    scale = float(tables.bag_scale[1])
    by_order = []
    for order in range(1, tables.bag_orders + 1):
        hashes = ngram_hashes(batch.hashes, batch.texts, order)
        weights = tables.bag[1, (hashes >> np.uint64(64 - tables.bits)).astype(np.int64)] * scale
        by_order.append(np.where(hashes != 0, weights, 0.0))
    ends = np.cumsum([len(row) for row in batch.units])
    found = []
    for row, end, reading in zip(batch.units, ends, readings, strict=True):
        begin = int(end) - len(row)
        candidates = [
            (-abs(weight) * (1 + _LONGER_SAYS_MORE * order), at - order + 1, at + 1, weight)
            for order, weights in enumerate(by_order, start=1)
            for at, weight in enumerate(weights[begin : int(end)].tolist())
            if abs(weight) >= _SMALLEST_EVIDENCE
        ]
        taken: set[int] = set()
        pieces = []
        for _, first, last, weight in sorted(candidates)[:64]:
            if taken.isdisjoint(range(first, last)):
                taken.update(range(first, last))
                written = reading.written[row[first].start : row[last - 1].end]
                if any(map(str.isalnum, written)) or any(face.start == row[first].start for face in reading.faces):
                    pieces.append(Evidence(text=written, weight=round(weight, 2)))
        found.append(pieces)
    return found


def save_tables(tables: LanguageTables, path: Path) -> None:
    # One entry, for safetensors writes several in any order and the same model should be the same file.
    numbers = {
        "format": _FORMAT,
        "vocabulary": tables.vocabulary,
        "bag_orders": tables.bag_orders,
        "model_orders": tables.model_orders,
        "priors": tables.priors,
        "weights": tables.weights,
    }
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "bag": tables.bag,
        "bag_scale": tables.bag_scale,
        "keys": tables.keys,
        "counts": tables.counts,
        "totals": tables.totals,
    }
    path.write_bytes(save(arrays, {"numbers": json.dumps(numbers)}))


def load_tables(path: Path) -> LanguageTables:
    """Raises ValueError for a file that is none of ours, OSError when it can't be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            numbers = json.loads((file.metadata() or {}).get("numbers", "{}"))
            if numbers.get("format") != _FORMAT:
                raise ValueError(f"{path.name} holds no naive Bayes model.")
            tables = LanguageTables(
                **{name: file.get_tensor(name) for name in ("bag", "bag_scale", "keys", "counts", "totals")},
                vocabulary=int(numbers["vocabulary"]),
                bag_orders=int(numbers["bag_orders"]),
                model_orders=int(numbers["model_orders"]),
                priors=tuple(map(float, numbers["priors"])),
                weights=tuple((float(a), float(b), float(c)) for a, b, c in numbers["weights"]),
            )
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    shapes = tables.bag.shape == (2, 1 << tables.bits) and tables.counts.shape == (len(tables.keys), 4)
    if not shapes or len(tables.weights) != 2 or len(tables.priors) < tables.model_orders or tables.vocabulary < 1:
        raise ValueError(f"{path.name} is not whole.")
    return tables


def load_naive_bayes(folder: Path, part: Part = "both") -> NaiveBayes:
    """From naive_bayes_en.safetensors and naive_bayes_zh.safetensors in `folder`. Raises ShortModelMissingError."""
    paths: dict[CorpusLanguage, Path] = {
        "en": folder / "naive_bayes_en.safetensors",
        "zh": folder / "naive_bayes_zh.safetensors",
    }
    try:
        digest = sha256(b"".join(path.read_bytes() for path in paths.values())).hexdigest()
        tables = {language: load_tables(path) for language, path in paths.items()}
    except (OSError, ValueError) as error:
        raise ShortModelMissingError(f"The naive Bayes weights in {folder} can't be read: {error}") from error
    return NaiveBayes(tables, f"naive_bayes@{digest[:8]}", part)
