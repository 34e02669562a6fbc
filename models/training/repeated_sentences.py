"""Finds sentences that stand in many texts, and takes them out of one: signatures, advertisements, and what somebody
plants again and again to be remembered. Knows no author and no file.

Whole texts that repeat each other are found elsewhere; here the texts differ but for a sentence. A model remembers a
sentence in proportion to how often it stands there (Carlini et al. 2023, "Quantifying Memorization Across Neural
Language Models").
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.near_duplicates import Indices, folding

MIN_LETTERS, MIN_CHINESE = 20, 10  # shorter ones ("He did not know.") are everybody's
MIN_TEXTS: Final = 6  # a sentence in fewer texts is a saying
MAX_TEXTS_SHARE: Final = 1 / 2_000  # of all texts; among a million, chance repeats even long sentences
_ENDS: Final = ".!?\n。！？…"
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST_CHINESE: Final = 0x2E80


class _Parsed(NamedTuple):
    """(sentences,) hash of the letters, where it begins among all characters, its text, and whether it is long."""

    hashes: NDArray[np.uint64]
    begins: Indices
    texts: Indices
    long: NDArray[np.bool_]


class Sentences:
    """The long sentences of texts, by their letters and figures; the texts are numbered in the order of adding."""

    def __init__(self) -> None:
        self._table = folding()
        self._ends = np.zeros(0x10000, dtype=np.bool_)
        self._ends[[ord(char) for char in _ENDS]] = True
        self._powers = np.ones(1, dtype=np.uint64)
        self._hashes: list[NDArray[np.uint64]] = []
        self._texts: list[NDArray[np.int32]] = []
        self._count = 0

    def add(self, texts: Sequence[str]) -> None:
        parsed = self._parse(texts)
        self._hashes.append(parsed.hashes[parsed.long])
        self._texts.append((parsed.texts[parsed.long] + self._count).astype(np.int32))
        self._count += len(texts)

    def repeated(self, chosen: Indices) -> tuple[frozenset[int], Indices]:
        """The hashes of sentences that too many of the texts `chosen` hold, and those texts that hold one."""
        hashes = np.concatenate([np.zeros(0, dtype=np.uint64), *self._hashes])
        texts = np.concatenate([np.zeros(0, dtype=np.int32), *self._texts])
        among = np.zeros(self._count, dtype=np.bool_)
        among[chosen] = True
        hashes, texts = hashes[among[texts]], texts[among[texts]]
        order = np.lexsort((texts, hashes))
        hashes, texts = hashes[order], texts[order]
        new = np.ones(len(hashes), dtype=np.bool_)  # a text counts once however often it repeats itself
        new[1:] = (hashes[1:] != hashes[:-1]) | (texts[1:] != texts[:-1])
        found, counts = np.unique(hashes[new], return_counts=True)
        often = found[counts >= max(MIN_TEXTS, MAX_TEXTS_SHARE * len(chosen))]
        return frozenset(often.tolist()), np.unique(texts[np.isin(hashes, often)]).astype(np.int64)

    def without(self, text: str, repeated: frozenset[int]) -> str:
        """`text` without the sentences whose hashes are `repeated`; white space is left as it falls."""
        if not text:
            return ""
        parsed = self._parse([text])
        ends = np.append(parsed.begins[1:], len(text))
        return "".join(
            " " if long and hash_ in repeated else text[begin:end]
            for hash_, begin, end, long in zip(
                parsed.hashes.tolist(), parsed.begins.tolist(), ends.tolist(), parsed.long.tolist(), strict=True
            )
        )

    def _parse(self, texts: Sequence[str]) -> _Parsed:
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), dtype=np.uint32)
        near = np.minimum(codes, 0xFFFF)
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        first = np.zeros(len(codes) + 1, dtype=np.bool_)
        first[1:] = self._ends[near]
        first[np.cumsum(lengths) - lengths] = True
        begins = np.flatnonzero(first[:-1])
        if not len(begins):
            return _Parsed(np.zeros(0, dtype=np.uint64), begins, begins, np.zeros(0, dtype=np.bool_))
        symbols = self._table[near]
        kept = symbols != 0
        before = np.cumsum(kept) - kept  # letters before each character
        starts = before[begins]
        letters = np.diff(starts, append=int(kept.sum()))
        symbols = symbols[kept].astype(np.uint64)
        place = np.arange(len(symbols)) - np.repeat(starts, letters)
        self._grow(int(letters.max()))
        terms = np.append(
            symbols * self._powers[place], np.uint64(0)
        )  # a sentence without letters may begin behind all
        hashes = np.add.reduceat(terms, np.minimum(starts, len(symbols)))
        heads = np.append(symbols, np.uint64(0))[np.minimum(starts, len(symbols))]
        long = letters >= np.where(heads >= _FIRST_CHINESE, MIN_CHINESE, MIN_LETTERS)
        return _Parsed(hashes, begins, np.searchsorted(np.cumsum(lengths), begins, side="right"), long)

    def _grow(self, size: int) -> None:
        if size > len(self._powers):
            with np.errstate(over="ignore"):
                self._powers = np.cumprod(np.full(size, _PRIME), dtype=np.uint64)
