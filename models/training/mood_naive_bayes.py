"""Counts labelled rows into the tables of naive Bayes (method 3) and weighs its two parts on held-back rows. Knows no
file and no corpus.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.sentiment.naive_bayes import (
    CLASSES,
    COUNT_STEPS,
    Batch,
    CorpusLanguage,
    LanguageTables,
    bag_scores,
    batch_of,
    buckets_of,
    model_scores,
)
from models.sentiment.reading import read
from models.sentiment.text_units import ngram_hashes
from models.training.mood_corpus import LABELS, Row

_ROWS_AT_ONCE = 4_000
_SMOOTHING = 0.4  # added to every count of the bag
_PRIORS = (500.0, 20.0, 10.0, 10.0)  # k of the language model, for histories of 0, 1, 2, 3 units
_BAG_ORDERS = {"en": 2, "zh": 3}
_BUCKET_BITS = {"en": 19, "zh": 18}  # more words than characters, so more of their n-grams
_MODEL_ORDERS = {"en": 3, "zh": 4}
_MOST_NGRAMS = 130_000  # of the language model: 8 bytes each
_LARGEST_BAG_RATIO = 4.0  # |log ratio| beyond it is cut: a word of one side only
_NEWTON_STEPS = 30
_RIDGE = 1.0


def fit_naive_bayes(
    train: Sequence[Row], held_back: Sequence[Row], language: CorpusLanguage, *, most_ngrams: int = _MOST_NGRAMS
) -> LanguageTables:
    """Deterministic. Raises ValueError when a class has no row in `train` or in `held_back`."""
    for rows in (train, held_back):
        if {row.label for row in rows} != set(LABELS):
            raise ValueError("Naive Bayes needs rows of all three classes, for training and held back.")
    batches = _batches(train)
    columns = [_columns(row) for row in train]
    bag, bag_scale = _count_bag(batches, columns, _BAG_ORDERS[language], _BUCKET_BITS[language])
    keys, counts, totals, vocabulary = _count_ngrams(batches, columns, _MODEL_ORDERS[language], most_ngrams)
    tables = LanguageTables(
        bag=bag, bag_scale=bag_scale, keys=keys, counts=counts, totals=totals, vocabulary=vocabulary,
        bag_orders=_BAG_ORDERS[language], model_orders=_MODEL_ORDERS[language], priors=_PRIORS,
        weights=((0.0, 1.0, 1.0), (0.0, 1.0, 1.0)),
    )  # fmt: skip
    return replace(tables, weights=_weigh_parts(tables, held_back))


def _batches(rows: Sequence[Row]) -> list[Batch]:
    return [
        batch_of([read(row.text) for row in rows[start : start + _ROWS_AT_ONCE]])
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]


def _columns(row: Row) -> tuple[int, ...]:
    """Which of `CLASSES` a row counts for. A two-class corpus says nothing about neutral."""
    if row.label == "neutral":
        return (0,)
    side = CLASSES.index(row.label)
    return (1, side) if row.classes == 3 else (side,)


def _chosen(columns: list[tuple[int, ...]], column: int) -> npt.NDArray[np.bool_]:
    return np.array([column in own for own in columns], dtype=bool)


def _count_bag(
    batches: list[Batch], columns: list[tuple[int, ...]], orders: int, bits: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    counts = np.zeros((len(CLASSES), 1 << bits))
    start = 0
    for batch in batches:
        pairs = np.unique(np.concatenate([n << bits | b for n, b in buckets_of(batch, orders, bits)]))
        numbers, buckets = pairs >> bits, pairs & ((1 << bits) - 1)
        own = columns[start : start + len(batch.units)]
        for column in range(len(CLASSES)):
            counts[column] += np.bincount(buckets[_chosen(own, column)[numbers]], minlength=1 << bits)
        start += len(batch.units)
    smooth = counts + _SMOOTHING
    logs = np.log(smooth / smooth.sum(1, keepdims=True))
    ratios = np.stack([logs[1] - logs[0], logs[3] - logs[2]])
    # A bucket never met in a stage's rows says nothing there, whatever the totals are.
    ratios[0][counts[0] + counts[1] == 0] = 0.0
    ratios[1][counts[2] + counts[3] == 0] = 0.0
    ratios = np.clip(ratios, -_LARGEST_BAG_RATIO, _LARGEST_BAG_RATIO)
    scale = np.maximum(np.abs(ratios).max(1), 1e-6) / 127.0
    return np.round(ratios / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _count_ngrams(
    batches: list[Batch], columns: list[tuple[int, ...]], orders: int, most: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8], npt.NDArray[np.float64], int]:
    """Of every order the same n-grams are kept in all classes: those met twice, the most frequent first."""
    found_keys: list[npt.NDArray[np.uint32]] = []
    found_counts: list[npt.NDArray[np.float64]] = []
    totals = np.zeros(len(CLASSES))
    vocabulary = 0
    for order in range(1, orders + 1):
        keys_of, class_of = [], []
        start = 0
        for batch in batches:
            own = columns[start : start + len(batch.units)]
            hashes = ngram_hashes(batch.hashes, batch.texts, order)
            for column in range(len(CLASSES)):
                keys = (hashes[_chosen(own, column)[batch.texts] & (hashes != 0)] >> np.uint64(32)).astype(np.uint32)
                keys_of.append(keys)
                class_of.append(np.full(len(keys), column, dtype=np.int8))
            start += len(batch.units)
        keys, inverse = np.unique(np.concatenate(keys_of), return_inverse=True)
        table = np.zeros((len(keys), len(CLASSES)))
        np.add.at(table, (inverse, np.concatenate(class_of)), 1)
        if order == 1:
            totals, vocabulary = table.sum(0), len(keys)
        often = table.sum(1) >= 2
        found_keys.append(keys[often])
        found_counts.append(table[often])
    keys, counts = np.concatenate(found_keys), np.concatenate(found_counts)
    # Frequent first; among equals the more one-sided.
    best = np.lexsort((keys, -np.abs(counts[:, 3] - counts[:, 2]), -counts.sum(1)))[:most]
    keys, counts = keys[best], counts[best]
    keys, first = np.unique(keys, return_index=True)
    stored = np.minimum(np.round(COUNT_STEPS * np.log1p(counts[first])), 255).astype(np.uint8)
    return keys, stored, totals, vocabulary


def _weigh_parts(tables: LanguageTables, rows: Sequence[Row]) -> tuple[tuple[float, float, float], ...]:
    bag, model = [], []
    for batch in _batches(rows):
        bag.append(bag_scores(tables, batch))
        model.append(model_scores(tables, batch))
    bags, models = np.concatenate(bag), np.concatenate(model)
    three = np.array([row.classes == 3 for row in rows])
    polar = np.array([row.label != "neutral" for row in rows])
    positive = np.array([row.label == "positive" for row in rows])
    names = sorted({row.source for row in rows})
    sources = np.array([names.index(row.source) for row in rows])
    return (
        _logistic(bags[three, 0], models[three, 0], polar[three], 2.0, sources[three]),
        _logistic(bags[polar, 1], models[polar, 1], positive[polar], 1.0, sources[polar]),
    )


def _logistic(
    bag: npt.NDArray[np.float64],
    model: npt.NDArray[np.float64],
    truth: npt.NDArray[np.bool_],
    odds: float,
    sources: npt.NDArray[np.int64],
) -> tuple[float, float, float]:
    """Logistic regression by Newton's method, with true weighing `odds` times as much as false and every corpus the
    same."""
    features = np.stack([np.ones_like(bag), bag, model], 1)
    share = truth.mean()
    importance = np.where(truth, odds / max(share, 1e-9), 1.0 / max(1 - share, 1e-9))
    importance *= (1.0 / np.bincount(sources)[sources]) / np.mean(1.0 / np.bincount(sources)[sources])
    weights = np.zeros(3)
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-(features @ weights)))
        gradient = features.T @ (importance * (p - truth)) + _RIDGE * weights
        hessian = (features * (importance * p * (1 - p))[:, None]).T @ features + _RIDGE * np.eye(3)
        weights -= np.linalg.solve(hessian, gradient)
    return float(weights[0]), float(weights[1]), float(weights[2])
