"""Turns texts into hashed features for linear models: words, pairs, characters, emoji, marks, negation, elongation.
Knows no weights and no label.

Everything is arithmetic on one array of code points for a whole batch, without a loop over characters. Let S be the
running sum of c[i]·P^i modulo 2^64; then (S[j] - S[i])·P^-i is the same number wherever a piece stands, so that any
piece's hash costs two look-ups (Karp and Rabin 1987). Python's own `hash` differs between processes and isn't used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Ints = NDArray[np.int64]

BITS = 19  # 524,288 weights for each stage: half a megabyte as int8
_P = 0x9E3779B97F4A7C15  # odd, so it has an inverse
_INVERSE = pow(_P, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SCOPE = 4  # words that a negation reaches, unless a mark ends its clause
_CHARACTER_PIECES = {"en": (3, 4, 5), "zh": (1, 2, 3, 4)}

_SEPARATOR, _WORD, _SINGLE, MARK = 0, 1, 2, 3  # kinds of code points
_NEGATIONS = {
    "en": ("not", "no", "never", "don't", "dont", "didn't", "didnt", "doesn't", "doesnt", "isn't", "isnt", "wasn't",
           "wasnt", "aren't", "arent", "weren't", "can't", "cant", "cannot", "couldn't", "won't", "wont", "wouldn't",
           "shouldn't", "ain't", "aint", "haven't", "hasn't", "hadn't", "without", "nothing", "nobody", "none",
           "neither", "nor", "hardly", "barely", "lack", "lacks", "n't"),
    "zh": ("不", "没", "別", "别", "无", "無", "未", "非", "莫", "沒"),
}  # fmt: skip

_SALT_WORD, _SALT_PAIR, _SALT_NEGATED, _SALT_PIECE, _SALT_COUNT = 1, 2, 3, 16, 32


@dataclass(frozen=True, kw_only=True)
class Features:
    """`index` of all texts' features, one after another, each below 2**BITS; those of text t are
    `index[starts[t]:starts[t + 1]]`. A feature that occurs twice stands there twice. `spans` (only when asked for) are
    each feature's beginning and end in the folded text."""

    index: NDArray[np.int32]
    starts: Ints
    spans: NDArray[np.int32] | None = None


@dataclass(frozen=True, kw_only=True)
class Units:
    """Texts as one row of folded code points, and their tokens. Of each code point its text (`text_of`), its place in
    it (`where`) and its kind; `upper` were capitals. Of each token its `begin` and `end` in that row, its text
    (`owner`), its kind, the hash of its spelling, whether it is a negation and whether one reaches it. `elongated`: of
    each text."""

    texts: int
    codes: Ints
    text_of: Ints
    where: Ints
    kinds: Ints
    upper: NDArray[np.bool_]
    elongated: NDArray[np.bool_]
    running: Codes
    begin: Ints
    end: Ints
    owner: Ints
    token_kinds: Ints
    hashes: Codes
    negations: NDArray[np.bool_]
    negated: NDArray[np.bool_]

    def hashed(self, begin: Ints, end: Ints, salt: int) -> Codes:
        """Of the pieces between these places of the row."""
        inverse = _powers(len(self.codes) + 1)[1]
        return _mixed((self.running[end] - self.running[begin]) * inverse[begin], salt)


def extract(texts: Sequence[str], language: Literal["en", "zh"], *, spans: bool = False) -> Features:
    """The features of cleaned texts. An empty text has none but the counts'."""
    return features_of(split(texts, language), language, spans=spans)


def split(texts: Sequence[str], language: Literal["en", "zh"]) -> Units:
    """Cleaned texts as code points and tokens: runs of one kind; Han characters and emoji stand alone; separators are
    none. "soooo" is "soo": a third equal character and all after it go, but are told of."""
    folded = [f" {text} ".replace("\0", " ") for text in texts]  # a NUL parts the texts of a batch
    raw = np.frombuffer("\0".join([*folded, ""]).encode("utf-32-le", "ignore"), dtype=np.uint32).astype(np.int64)
    raw = np.minimum(raw, LAST_CODE)
    kinds, lower = _tables()
    parting = raw == 0
    text_of = np.cumsum(parting) - parting
    firsts = np.concatenate([[0], np.flatnonzero(parting)[:-1] + 1]) if len(raw) else np.zeros(0, np.int64)
    where = np.arange(len(raw)) - firsts[text_of]
    codes = lower[raw]
    longer = np.zeros(len(codes), bool)
    longer[2:] = (codes[2:] == codes[1:-1]) & (codes[2:] == codes[:-2]) & (kinds[codes[2:]] == _WORD)
    upper = (codes != raw) & ~longer
    kept = ~longer
    elongated = np.bincount(text_of[longer], minlength=len(texts)) > 0
    text_of, where, codes, upper = text_of[kept], where[kept], codes[kept], upper[kept]
    kind = kinds[codes]

    powers = _powers(len(codes) + 1)
    running = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes + 1).astype(np.uint64) * powers[0][:-1], out=running[1:])

    border = np.ones(len(codes), bool)
    border[1:] = (kind[1:] != kind[:-1]) | (kind[1:] == _SINGLE)
    begin = np.flatnonzero(border)
    end = np.append(begin[1:], len(codes))[: len(begin)]
    real = kind[begin] != _SEPARATOR
    begin, end = begin[real], end[real]
    owner, token_kinds = text_of[begin], kind[begin]
    hashes = _mixed((running[end] - running[begin]) * powers[1][begin], 0)
    negations = np.isin(hashes, _negations(language))
    negated = reached(negations, token_kinds == MARK, owner)
    return Units(
        texts=len(texts), codes=codes, text_of=text_of, where=where, kinds=kind, upper=upper, elongated=elongated,
        running=running, begin=begin, end=end, owner=owner, token_kinds=token_kinds, hashes=hashes, negations=negations,
        negated=negated,
    )  # fmt: skip


def features_of(units: Units, language: Literal["en", "zh"], *, spans: bool = False) -> Features:
    codes, text_of, begin, end, owner = units.codes, units.text_of, units.begin, units.end, units.owner
    if not units.texts:
        return Features(index=np.zeros(0, np.int32), starts=np.zeros(1, np.int64),
                        spans=np.zeros((0, 2), np.int32) if spans else None)  # fmt: skip
    rows: list[Ints] = [owner]
    hashes: list[Codes] = [_mixed(units.hashes, _SALT_WORD)]
    places: list[tuple[Ints, Ints]] = [(begin, end)]
    if len(begin) > 1:
        pair = owner[1:] == owner[:-1]
        rows.append(owner[1:][pair])
        hashes.append(_mixed(units.hashes[:-1][pair] * _MIX + units.hashes[1:][pair], _SALT_PAIR))
        places.append((begin[:-1][pair], end[1:][pair]))
    negated = units.negated
    rows.append(owner[negated])
    hashes.append(_mixed(units.hashes[negated], _SALT_NEGATED))
    places.append((begin[negated], end[negated]))

    end_of_text = np.append(np.flatnonzero(codes == 0), len(codes))[text_of]  # where each character's text ends
    for size in _CHARACTER_PIECES[language]:
        at = np.arange(max(0, len(codes) - size + 1))
        at = at[(at + size <= end_of_text[at]) & (codes[at] != 0)]
        if size == 1:
            at = at[units.kinds[at] == _SINGLE]
        rows.append(text_of[at])
        hashes.append(units.hashed(at, at + size, _SALT_PIECE + size))
        places.append((at, at + size))

    counts = _counts(codes, units.upper, units.elongated, text_of, units.texts)
    whole = np.zeros(len(counts[0]), np.int64)
    rows.append(counts[0])
    hashes.append(counts[1])
    places.append((whole, whole))

    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    index = (np.concatenate(hashes) >> np.uint64(64 - BITS)).astype(np.int32)[order]
    starts = np.searchsorted(row[order], np.arange(units.texts + 1))
    found = None
    if spans:
        pieces = [np.stack(spans_of(units, a, b), axis=1) for a, b in places]
        found = np.concatenate(pieces)[order].astype(np.int32)
    return Features(index=index, starts=starts, spans=found)


def spans_of(units: Units, begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Where these pieces of the row begin and end in their texts; the space added in front is no part of a text."""
    last = np.append(units.where, 0)
    return last[begin] - 1, last[np.maximum(end - 1, 0)] + (end > begin) - 1


def hash_of(spelling: str) -> int:
    """As `Units.hashes` has it for a token of this (folded) spelling."""
    total = 0
    for place, char in enumerate(spelling):
        total = (total + (ord(char) + 1) * pow(_P, place, 1 << 64)) % (1 << 64)
    return int(_mixed(np.array([total], np.uint64), 0)[0])


def _mixed(hashes: Codes, salt: int) -> Codes:
    hashes = (hashes ^ np.uint64(salt * 0xA24BAED4963EE407 % (1 << 64))) * _MIX
    return (hashes ^ (hashes >> np.uint64(32))) * _MIX


def reached(negation: NDArray[np.bool_], mark: NDArray[np.bool_], owner: Ints) -> NDArray[np.bool_]:
    """Which tokens stand within `_SCOPE` after a negation, in its clause."""
    clause = np.cumsum(mark) + owner  # owners only grow, so it changes between texts as well
    found = np.zeros(len(negation), bool)
    for distance in range(1, min(_SCOPE, len(negation) - 1) + 1):
        found[distance:] |= (
            negation[:-distance]
            & (clause[distance:] == clause[:-distance])
            & (owner[distance:] == owner[:-distance])
        )  # fmt: skip
    return found


def _counts(
    codes: Ints, upper: NDArray[np.bool_], elongated: NDArray[np.bool_], text_of: Ints, texts: int
) -> tuple[Ints, Codes]:
    """Facts of whole texts as features: how many marks, capitals, characters, on a coarse scale."""

    def count(mask: NDArray[np.bool_]) -> Ints:
        return np.bincount(text_of[mask], minlength=texts)

    length = np.bincount(text_of, minlength=texts)
    capitals = count(upper) * 10 // np.maximum(length, 1)
    facts = [
        np.minimum(count(codes == ord("!")) + count(codes == 0xFF01), 3),
        np.minimum(count(codes == ord("?")) + count(codes == 0xFF1F), 2),
        elongated.astype(np.int64),
        np.minimum(capitals, 5),
        np.log2(np.maximum(length, 1)).astype(np.int64),
    ]
    rows = np.tile(np.arange(texts), len(facts))
    values = np.concatenate([fact + 64 * number for number, fact in enumerate(facts)])
    return rows, _mixed(values.astype(np.uint64), _SALT_COUNT)


LAST_CODE = 0x1FFFF  # beyond lie only rare ideographs and private characters


@cache
def _tables() -> tuple[Ints, Ints]:
    """For each code point its kind and its lower-case form."""
    kinds = np.full(LAST_CODE + 1, MARK, np.int64)
    lower = np.arange(LAST_CODE + 1, dtype=np.int64)
    for code in range(LAST_CODE + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        char = chr(code)
        if code == 0 or char.isspace():
            kinds[code] = _SEPARATOR
        elif 0x2E80 <= code <= 0x9FFF and char.isalpha():
            kinds[code] = _SINGLE
        elif char.isalnum() or char in "'_@#":
            kinds[code] = _WORD
        elif 0x2190 <= code <= 0x2BFF or code >= 0x1F000:
            kinds[code] = _SINGLE
        small = char.lower()
        if len(small) == 1 and ord(small) <= LAST_CODE:
            lower[code] = ord(small)
    return kinds, lower


_grown: list[tuple[Codes, Codes]] = []


def _powers(length: int) -> tuple[Codes, Codes]:
    """P^i and P^-i for i < length, kept for the next batch."""
    if not _grown or len(_grown[0][0]) < length:
        size = 1 << max(16, (length - 1).bit_length())
        steps = []
        for base in (_P, _INVERSE):
            values = np.full(size, base, np.uint64)
            values[0] = 1
            steps.append(np.multiply.accumulate(values))
        _grown[:] = [(steps[0], steps[1])]
    return _grown[0][0][:length], _grown[0][1][:length]


@cache
def _negations(language: Literal["en", "zh"]) -> Codes:
    return np.array(sorted({hash_of(word) for word in _NEGATIONS[language]}), np.uint64)
