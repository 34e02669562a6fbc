"""A text as a row of units (words, Chinese characters, marks, faces) and the hashes of their n-grams. Knows no class
and no count.

English units are words and runs of marks, Chinese ones single characters, for a segmenter would have to be shipped and
its mistakes with it; Latin words inside Chinese stay whole, numbers become "0". Hashes are 64 bits, the same on every
machine: CRC-32 of each unit, mixed by multiplication (a linear congruential step) along the n-gram.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from models.sentiment.reading import Reading

Hashes = npt.NDArray[np.uint64]

MAX_UNITS = 400  # of one text: the rest of a longer one is not read
_UNIT = re.compile(r"[a-z\u00c0-\u024f]+(?:'[a-z]+)?|[0-9]+|[\u3400-\u9fff]|[!！]+|[?？]+|[^\w\s]")
_STRETCHED = re.compile(r"(.)\1{3,}")
_STEP = np.uint64(6364136223846793005)
_SALT = np.uint64(0x9E3779B97F4A7C15)
_CHARACTER_ORDERS = (3, 4, 5)
_MASK = (1 << 64) - 1
_LONGEST_KEPT = 30  # characters of a word that has character n-grams, and of what the caches hold


class Unit(NamedTuple):
    """`reading.text[start:end]`, and its normal form."""

    start: int
    end: int
    form: str


def units_of(reading: Reading) -> list[Unit]:
    """At most `MAX_UNITS`. A stretch of the same character counts as three."""
    found: list[Unit] = []
    faces = iter((*reading.faces, None))
    face = next(faces)
    # Of all characters only U+0130 becomes two in lower case, which would move every place behind it.
    for match in _UNIT.finditer(reading.text.replace("\u0130", "I").lower()):
        while face is not None and face.end <= match.start():
            found.append(Unit(face.start, face.end, face.sign))
            face = next(faces)
        if len(found) >= MAX_UNITS:
            return found[:MAX_UNITS]
        if face is not None and match.end() > face.start:
            continue
        found.append(Unit(match.start(), match.end(), _form(match.group())))
    while face is not None:
        found.append(Unit(face.start, face.end, face.sign))
        face = next(faces)
    return found[:MAX_UNITS]


def _form(written: str) -> str:
    if written[0].isdigit():
        return "0"
    if written[0] in "!！":
        return "!" if len(written) == 1 else "!!"
    if written[0] in "?？":
        return "?" if len(written) == 1 else "??"
    return _STRETCHED.sub(r"\1\1\1", written) if len(written) > 3 else written


def unit_hash(form: str) -> int:
    return _short_unit_hash(form) if len(form) <= _LONGEST_KEPT else crc32(form.encode())


@lru_cache(maxsize=60_000)
def _short_unit_hash(form: str) -> int:
    return crc32(form.encode())


def ngram_hashes(units: Hashes, texts: npt.NDArray[np.int64], order: int) -> Hashes:
    """The hash of the n-gram that ends at each unit, 0 where its text has not begun early enough. `units` (n,) of many
    texts one after another, `texts` (n,) the number of each unit's text."""
    with np.errstate(over="ignore"):
        mixed = units.copy()
        for back in range(1, order):
            mixed[back:] += units[:-back] * _STEP ** np.uint64(back)
        mixed = (mixed + _SALT * np.uint64(order)) * _STEP
        mixed ^= mixed >> np.uint64(29)
        mixed *= _SALT
        mixed ^= mixed >> np.uint64(32)
    if order > 1:
        mixed[: order - 1] = 0
        mixed[order - 1 :][texts[order - 1 :] != texts[: 1 - order]] = 0
    return mixed


def character_hashes(word: str) -> tuple[int, ...]:
    """Of the 3- to 5-grams of a word of Latin letters with its borders; none for other units."""
    if not word[0].isalpha() or len(word) < 3 or len(word) > _LONGEST_KEPT:
        return ()
    return _hashes_of_word(word)


@lru_cache(maxsize=16_384)  # invented words of 30 letters take 4 kB each
def _hashes_of_word(word: str) -> tuple[int, ...]:
    padded = f"<{word}>"
    return tuple(
        (crc32(padded[at : at + order].encode()) * int(_SALT) + order * 0x5851F42D4C957F2D) & _MASK
        for order in _CHARACTER_ORDERS
        for at in range(len(padded) - order + 1)
    )
