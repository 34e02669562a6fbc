"""Counts of n-grams as sorted arrays on disk, added to in time proportional to what is added. Knows no probability.

A gram of order k is a 64-bit key: 48 bits of hash of its k-1 context symbols, 16 bits for its last symbol. So the
continuations of a context lie side by side. (Two contexts of 10 million share their 48 bits with probability 0.2; they
would then share their continuations, and every distribution would still sum to 1, because a context's totals are kept
under the same 48 bits.)

The counts are layers of differences, as in a log-structured merge tree: a lookup sums over the layers, an addition
writes one new layer that is as large as the new text, and small layers are merged with equally small ones.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]

BOUNDARY = 0xFFFF  # stands before a text; context only, never predicted
MAX_SYMBOLS = BOUNDARY  # symbols are 0..65,534
_LOW = np.uint64(0xFFFF)
_HIGH = ~_LOW
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(31)


def extend(contexts: Keys, symbols: Keys) -> Keys:
    """Hashes of contexts that reach one symbol further back."""
    mixed = (contexts ^ (symbols + np.uint64(1))) * _ODD
    mixed ^= mixed >> _SHIFT
    return mixed * _ODD


def context_hashes(padded: Keys, order: int) -> list[Keys]:
    """`padded` is (order - 1 + n,) symbols. Returns for each length m in 0..order-1 the (n,) hashes of the m symbols
    before each of the last n."""
    n = len(padded) - (order - 1)
    hashes = [np.zeros(n, dtype=np.uint64)]
    for m in range(1, order):
        hashes.append(extend(hashes[-1], padded[order - 1 - m : order - 1 - m + n]))
    return hashes


def _sum_by_key(keys: Keys, values: Numbers) -> tuple[Keys, Numbers]:
    """Sorted distinct keys and the sums of their `values`, (n,) or (n, columns)."""
    if not len(keys):
        return keys, values
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(values[order], starts, axis=0)


def _count(keys: Keys) -> tuple[Keys, Numbers]:
    keys = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
    return keys[starts], np.diff(np.append(starts, len(keys)))


def _place_of_each(keys: Keys) -> NDArray[np.int64]:
    """Where each distinct key stands, once. As `argsort` would tell, in a third of its time: what is sorted is a hash
    of the key in the upper bits and its place in the lower ones."""
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))
    packed = ((keys * _ODD) >> bits << bits) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    places: NDArray[np.int64] = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ordered = keys[places]
    places = places[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    found = np.sort(keys[places])
    if (found[1:] == found[:-1]).any():  # two keys share a hash and their places alternate
        places = places[np.unique(keys[places], return_index=True)[1]]
    return places


@dataclass(kw_only=True)
class Layer:
    """Differences for the grams of one order: `keys` (grams,) sorted, `counts` (grams,); `contexts` (contexts,) sorted,
    `totals` (contexts, 4): the counts' sum and how many continuations were counted once, twice, more often."""

    keys: Keys
    counts: NDArray[np.int32]
    contexts: Keys
    totals: NDArray[np.int32]


def _find(sorted_keys: Keys, wanted: Keys) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    if not len(sorted_keys):
        return np.zeros(len(wanted), dtype=bool), np.zeros(len(wanted), dtype=np.int64)
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return sorted_keys[place] == wanted, place


def _classes(counts: Numbers) -> Numbers:
    """(n,) counts -> (n, 3) ones where the count is 1, 2, at least 3."""
    return np.stack([counts == 1, counts == 2, counts >= 3], axis=-1).astype(np.int64)


@dataclass(kw_only=True)
class Order:
    """All grams of one order, in layers, and how many grams were counted exactly once to four times."""

    layers: list[Layer] = field(default_factory=list)
    counts_of_counts: Numbers = field(default_factory=lambda: np.zeros(4, dtype=np.int64))

    def lookup(self, keys: Keys) -> Numbers:
        """(n,) keys -> (n,) counts; 0 for grams never seen."""
        found = np.zeros(len(keys), dtype=np.int64)
        for layer in self.layers:
            hit, place = _find(layer.keys, keys)
            found[hit] += layer.counts[place[hit]]
        return found

    def totals(self, contexts: Keys) -> Numbers:
        """(n,) context hashes -> (n, 4) as in `Layer.totals`."""
        found = np.zeros((len(contexts), 4), dtype=np.int64)
        for layer in self.layers:
            hit, place = _find(layer.contexts, contexts & _HIGH)
            found[hit] += layer.totals[place[hit]]
        return found

    def continuations(self, context: int) -> tuple[Numbers, Numbers]:
        """Symbols that followed `context`, ascending and distinct, and their counts."""
        first = np.uint64(context & int(_HIGH))
        pieces = []
        for layer in self.layers:
            begin, end = layer.keys.searchsorted(first), layer.keys.searchsorted(first | _LOW, side="right")
            if end > begin:
                pieces.append((layer.keys[begin:end] & _LOW, layer.counts[begin:end].astype(np.int64)))
        if not pieces:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if len(pieces) == 1:
            return pieces[0][0].astype(np.int64), pieces[0][1]
        keys, values = _sum_by_key(np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces]))
        return keys.astype(np.int64), values

    def add(self, keys: Keys, added: Numbers) -> None:
        """Add to the counts of distinct, sorted `keys`. Costs time in proportion to them, times a logarithm."""
        if not len(keys):
            return
        before = self.lookup(keys)
        after = before + added
        for number in range(1, 5):
            self.counts_of_counts[number - 1] += int((after == number).sum()) - int((before == number).sum())
        change = np.concatenate([added[:, None], _classes(after) - _classes(before)], axis=1)
        contexts, totals = _sum_by_key(keys & _HIGH, change)
        layer = Layer(keys=keys, counts=added.astype(np.int32), contexts=contexts, totals=totals.astype(np.int32))
        while self.layers and len(self.layers[-1].keys) < 2 * len(layer.keys):
            layer = _merge(self.layers.pop(), layer)
        self.layers.append(layer)


def _merge(one: Layer, other: Layer) -> Layer:
    keys, counts = _sum_by_key(np.concatenate([one.keys, other.keys]),
                               np.concatenate([one.counts, other.counts]).astype(np.int64))  # fmt: skip
    contexts, totals = _sum_by_key(np.concatenate([one.contexts, other.contexts]),
                                   np.concatenate([one.totals, other.totals]).astype(np.int64))  # fmt: skip
    return Layer(keys=keys, counts=counts.astype(np.int32), contexts=contexts, totals=totals.astype(np.int32))


class Counts:
    """The counts of orders 1..`order`. With `continuation`, orders below the highest count in how many different
    contexts a gram was seen (Kneser & Ney 1995), else how often it was seen."""

    def __init__(self, order: int, *, continuation: bool) -> None:
        self.order, self.continuation = order, continuation
        self.orders = [Order() for _ in range(order)]
        self.length = 0  # symbols counted

    def add(self, symbols: NDArray[np.integer[Any]]) -> None:
        """Count a text of numbers below `MAX_SYMBOLS`, as its own piece: its first symbols follow boundaries."""
        if not len(symbols):
            return
        padded = np.concatenate([np.full(self.order - 1, BOUNDARY), symbols]).astype(np.uint64)
        last = padded[self.order - 1 :]
        hashes = context_hashes(padded, self.order)
        suffixes: Keys | None = None  # of the grams one order above that are new, each once
        for m in range(self.order - 1, -1, -1):
            occurrences = (hashes[m] & _HIGH) | last
            if m == self.order - 1 or not self.continuation:
                keys, counts = _count(occurrences)
            else:
                assert suffixes is not None
                keys, counts = _count(suffixes)
            if self.continuation and m > 0:
                suffixes = self._suffixes_of_new(occurrences, (hashes[m - 1] & _HIGH) | last, m)
            self.orders[m].add(keys, counts)
        self.length += len(symbols)

    def _suffixes_of_new(self, occurrences: Keys, shorter: Keys, m: int) -> Keys:
        """The gram one order shorter, for each distinct gram of `occurrences` that was never seen before."""
        places = _place_of_each(occurrences)
        new = self.orders[m].lookup(occurrences[places]) == 0
        chosen: Keys = shorter[places[new]]
        return chosen

    def save(self, folder: Path) -> None:
        """Write every array as .npy, which `load` maps into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.npy"):
            old.unlink()
        for m, order in enumerate(self.orders):
            np.save(folder / f"{m + 1}-counts-of-counts.npy", order.counts_of_counts)
            for number, layer in enumerate(order.layers):
                for name in ("keys", "counts", "contexts", "totals"):
                    np.save(folder / f"{m + 1}-{number}-{name}.npy", getattr(layer, name))

    @classmethod
    def load(cls, folder: Path, *, order: int, continuation: bool, length: int) -> "Counts":
        counts = cls(order, continuation=continuation)
        counts.length = length
        for m, each in enumerate(counts.orders):
            each.counts_of_counts = np.load(folder / f"{m + 1}-counts-of-counts.npy", allow_pickle=False)
            number = 0
            while (folder / f"{m + 1}-{number}-keys.npy").exists():
                arrays = {
                    name: np.load(folder / f"{m + 1}-{number}-{name}.npy", mmap_mode="r", allow_pickle=False)
                    for name in ("keys", "counts", "contexts", "totals")
                }
                each.layers.append(Layer(**arrays))
                number += 1
        return counts
