"""Finds texts that say nearly the same, by MinHash (Broder 1997) and bands of it. Knows no author and no file.

A text is the set of its runs of five letters or figures, spaces, marks and case aside: that serves English and Chinese
alike. Of each text only 112 bytes are kept: keys of twelve bands of five minima, by which near-duplicates meet, and the
lowest byte of each of 64 minima (Li and König 2010, "b-Bit Minwise Hashing"), by which they are confirmed. The sketches
are rensa's (MIT): a hundred times as fast as datasketch's here, and without SciPy.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

RUN: Final = 5
MINIMA: Final = 64
BANDS, BAND_ROWS = 12, 5  # two texts that share 0.7 of their runs meet with probability 0.89, 0.8: 0.99, 0.5: 0.32
NEAR: Final = 45  # of 64 minima equal: 0.7 of all runs are shared, give or take 0.05
_SEED: Final = 20_261
_FIRST_CAPACITY: Final = 1 << 16
_CHUNK: Final = 1 << 15
_FILLED_BITS, _FIRST_RUNS = 512, 1_024
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)
_BAND_PRIMES: Final = np.array([0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F, 0x165667B1, 0x9E3779B1], dtype=np.uint32)

Indices = NDArray[np.int64]
_Number = TypeVar("_Number", bound=np.unsignedinteger[Any])


class Measures(NamedTuple):
    """Of each text (texts,): its letters and figures, and the estimated number of distinct runs to that of all runs,
    about 1 where nothing is repeated."""

    letters: Indices
    variety: NDArray[np.float64]


@cache
def folding() -> NDArray[np.uint32]:
    """(65536,) each character's number in lower case, 0 for what is no letter and no figure."""
    table = np.zeros(0x10000, dtype=np.uint32)
    for code in range(0x10000):
        char = chr(code)
        if char.isalnum():
            lower = char.lower()
            table[code] = ord(lower) if len(lower) == 1 else code
    return table


class Sketches:
    """Sketches of texts, numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._table = folding()
        self._bands = np.empty((_FIRST_CAPACITY, BANDS), dtype=np.uint32)
        self._bits = np.empty((_FIRST_CAPACITY, MINIMA), dtype=np.uint8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Sequence[str]) -> Measures:
        """Sketch some texts, best about a hundred thousand characters at once."""
        if not texts:
            return Measures(np.zeros(0, dtype=np.int64), np.zeros(0))
        runs, offsets, letters = self._runs(texts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(runs, offsets.astype(np.uint64), MINIMA, _SEED)
        minima = np.array(matrix.to_rows(), dtype=np.uint32)  # (texts, 64)
        self._keep(minima)
        return Measures(letters, _variety(runs, offsets))

    def _runs(self, texts: Sequence[str]) -> tuple[NDArray[np.uint64], Indices, Indices]:
        """The hashes of all runs of all texts, (texts + 1,) where each text's begin, and (texts,) letters."""
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), dtype=np.uint32)
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        folded = self._table[np.minimum(codes, 0xFFFF)]
        rare = codes > 0xFFFF  # Chinese characters of the later planes; emoji are no letters
        if rare.any():
            folded[rare] = np.where((codes[rare] >= 0x20000) & (codes[rare] < 0x40000), codes[rare], 0)
        kept = folded != 0
        before = np.concatenate([[0], np.cumsum(kept)])
        ends = before[np.cumsum(lengths)]
        letters = np.diff(ends, prepend=0)
        symbols = folded[kept].astype(np.uint64)
        if len(symbols) < RUN:
            return np.zeros(0, dtype=np.uint64), np.zeros(len(texts) + 1, dtype=np.int64), letters
        hashes = symbols[: len(symbols) - RUN + 1].copy()
        for step in range(1, RUN):
            hashes *= _PRIME
            hashes += symbols[step : len(symbols) - RUN + 1 + step]
        hashes ^= hashes >> np.uint64(31)
        hashes *= _PRIME
        hashes ^= hashes >> np.uint64(33)
        counts = np.maximum(letters - RUN + 1, 0)
        own = np.ones(len(symbols), dtype=np.bool_)
        for step in range(1, RUN):
            own[(ends - step)[ends >= step]] = False  # a run that begins here reaches into the next text
        own = own[: len(hashes)]
        return hashes[own], np.concatenate([[0], np.cumsum(counts)]), letters

    def _keep(self, minima: NDArray[np.uint32]) -> None:
        count = self._count + len(minima)
        if count > len(self._bits):
            capacity = max(count, 2 * len(self._bits))
            self._bands = _grown(self._bands, self._count, capacity)
            self._bits = _grown(self._bits, self._count, capacity)
        grouped = minima[:, : BANDS * BAND_ROWS].reshape(len(minima), BANDS, BAND_ROWS)
        keys = (grouped * _BAND_PRIMES).astype(np.uint32)
        keys ^= keys >> np.uint32(15)
        self._bands[self._count : count] = np.bitwise_xor.reduce(keys * np.uint32(0x2C1B3C6D), axis=2)
        self._bits[self._count : count] = minima.astype(np.uint8)
        self._count = count

    def originals(self, chosen: Indices, rank: Indices) -> Indices:
        """Of the texts `chosen` (k,), ordered by `rank` (k,), which other each repeats: (k,) positions in `chosen`, its
        own for a text that repeats none of a lower rank. The same whatever the order in which they were added."""
        originals = np.arange(len(chosen))
        if not len(chosen):
            return originals
        for band in range(BANDS):
            keys = self._bands[chosen, band]
            order = np.lexsort((rank, keys))
            first = np.concatenate([[True], keys[order][1:] != keys[order][:-1]])
            heads = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
            later, earlier = order[~first], heads[~first]
            for begin in range(0, len(later), _CHUNK):
                mine, theirs = later[begin : begin + _CHUNK], earlier[begin : begin + _CHUNK]
                equal = (self._bits[chosen[mine]] == self._bits[chosen[theirs]]).sum(axis=1)
                better = (equal >= NEAR) & (rank[theirs] < rank[originals[mine]])
                originals[mine[better]] = theirs[better]
        return originals


def _grown(array: NDArray[_Number], count: int, capacity: int) -> NDArray[_Number]:
    larger = np.empty((capacity, array.shape[1]), dtype=array.dtype)
    larger[:count] = array[:count]
    return larger


def _variety(runs: NDArray[np.uint64], offsets: Indices) -> NDArray[np.float64]:
    """By linear counting (Whang, Vander-Zanden and Taylor 1990) of each text's first 1,024 runs in 512 bits."""
    counts = np.diff(offsets)
    rows = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    if counts.max(initial=0) > _FIRST_RUNS:
        early = np.arange(len(runs)) - offsets[:-1][rows] < _FIRST_RUNS
        rows, runs = rows[early], runs[early]
    filled = np.zeros(len(counts) * _FILLED_BITS, dtype=np.bool_)
    filled[rows * np.uint64(_FILLED_BITS) + (runs & np.uint64(_FILLED_BITS - 1))] = True
    empty = np.maximum(_FILLED_BITS - np.count_nonzero(filled.reshape(-1, _FILLED_BITS), axis=1), 1) / _FILLED_BITS
    distinct = -_FILLED_BITS * np.log(empty)
    return np.asarray(distinct / np.clip(counts, 1, _FIRST_RUNS), dtype=np.float64)
