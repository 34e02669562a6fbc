"""Finds text that two corpora share, by hashes of runs of eight words (or eight Chinese characters). Knows no file.

A held-out text is only unseen if the training text repeats none of it. Titles are not enough: a tale stands in several
collections, and a novel quotes another. So paragraphs are compared by their 8-grams, the length that GPT-2 and Lee et
al. (2022, "Deduplicating Training Data Makes Language Models Better") also found to separate chance from copying.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GRAM = 8
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying permutes the 64-bit integers
_TOKEN = re.compile(r"[^\W_㐀-鿿豈-﫿]+|[㐀-鿿豈-﫿]")

Hashes = NDArray[np.uint64]


def _token_hashes(text: str, seen: dict[str, int]) -> Hashes:
    """One number per word or Chinese character of `text`, the same for the same word; punctuation and case are dropped.
    `seen` maps each distinct word to its number and grows."""
    numbers = [seen.setdefault(token, len(seen) + 1) for token in _TOKEN.findall(text.lower())]
    return np.asarray(numbers, dtype=np.uint64) * _MULTIPLIER


def _grams(tokens: Hashes) -> Hashes:
    """(tokens,) -> (max(0, tokens - 7),) hashes of every run of eight. A collision is as likely as two equal 64-bit
    random numbers."""
    if len(tokens) < GRAM:
        return np.empty(0, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, GRAM)
    mixed = np.zeros(len(windows), dtype=np.uint64)
    for column in range(GRAM):
        mixed = (mixed ^ windows[:, column]) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _share(hit: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """(grams,) hits of paragraphs one after another and (paragraphs,) their lengths -> (paragraphs,) shares."""
    ends = np.cumsum(lengths)
    totals = np.concatenate([[0], np.cumsum(hit)])
    shares: NDArray[np.float64] = (totals[ends] - totals[ends - lengths]) / np.maximum(lengths, 1)
    return shares


def _flatten(paragraphs: Sequence[str], seen: dict[str, int]) -> tuple[Hashes, NDArray[np.int64]]:
    grams = [_grams(_token_hashes(paragraph, seen)) for paragraph in paragraphs]
    flat = np.concatenate([np.empty(0, dtype=np.uint64), *grams])
    return flat, np.array([len(each) for each in grams], dtype=np.int64)


def shared_with(reference: Sequence[str], documents: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
    """For each document (its paragraphs), the share of each paragraph's 8-grams that stand in `reference`:
    (paragraphs,) in 0..1; 0 for a paragraph of fewer than eight words, which can't be told from chance."""
    seen: dict[str, int] = {}
    known = np.sort(_flatten(reference, seen)[0])
    shares = []
    for paragraphs in documents:
        flat, lengths = _flatten(paragraphs, seen)
        position = np.minimum(np.searchsorted(known, flat), max(len(known) - 1, 0))
        shares.append(_share(known[position] == flat if len(known) else np.zeros(len(flat), dtype=bool), lengths))
    return shares


def shared_with_earlier(documents: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
    """As `shared_with`, against all documents that come before each one. Repeats within a document don't count."""
    seen: dict[str, int] = {}
    flats, lengths = zip(*(_flatten(paragraphs, seen) for paragraphs in documents), strict=True)
    flat = np.concatenate(flats)
    owner = np.repeat(np.arange(len(flats)), [len(each) for each in flats])
    order = np.argsort(flat, kind="stable")  # equal hashes stay in the order of their documents
    ordered = flat[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    first_owner = owner[order][np.maximum.accumulate(np.where(is_first, np.arange(len(ordered)), 0))]
    repeated = np.empty(len(flat), dtype=bool)
    repeated[order] = owner[order] != first_owner
    starts = np.cumsum([0, *(len(each) for each in flats)])
    return [_share(repeated[start : start + len(each)], length)
            for start, each, length in zip(starts, flats, lengths, strict=False)]  # fmt: skip
