"""Decides what is held out, by hashes that never move, and how much of one author may stay. Knows no text and no file.

An author is held out for good: whatever others write, join or erase, nobody moves to the other side, so that no
champion has learned what a later candidate is judged on. With too few authors for that, whole stories are held out,
and with a single story single passages; the report says so, since a champion may then have learned some of them.
"""

import hashlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.snapshot_rows import SplitBy

Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

HELD_OUT_SHARE: Final = 0.125
MIN_HELD_OUT: Final = 0.02  # of all characters: a handful of words decides nothing
MAX_SHARE: Final = 0.25  # of all characters that one author may have written, where four or more wrote
MIN_CAP: Final = 4_000  # characters that anybody may have written


def stable_hash(name: str) -> int:
    """64 bits, the same for ever."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, person=b"inkwell split").digest(), "big")


class Division(NamedTuple):
    """(lessons,) which are held out, and whose hash said so."""

    held_out: Flags
    by: SplitBy


def divide(authors: Hashes, stories: Hashes, turns: Hashes, lengths: Indices) -> Division:
    """(lessons,) hashes of each lesson's author, story and own id, and its characters. Held out are the authors whose
    hash is among the lowest eighth. Where they wrote less than `MIN_HELD_OUT` or more than half of the characters, the
    same with stories, then with lessons; there the lowest hash is held out where none is low enough."""
    limit = np.uint64(int(HELD_OUT_SHARE * 2**64))
    least, most = max(1.0, MIN_HELD_OUT * lengths.sum()), lengths.sum() / 2
    by_author = authors < limit
    if least <= lengths[by_author].sum() <= most:
        return Division(by_author, "author")
    by_story = _lowest(stories, limit)
    if least <= lengths[by_story].sum() <= most:
        return Division(by_story, "story")
    by_turn = _lowest(turns, limit)
    if lengths[by_turn].sum() > most:
        by_turn = _lowest(turns, np.uint64(0))
    return Division(by_turn if len(turns) > 1 else np.zeros(len(turns), dtype=np.bool_), "turn")


def _lowest(hashes: Hashes, limit: np.uint64) -> Flags:
    low = hashes < limit
    if low.any() or not len(hashes):
        return low
    return np.asarray(hashes == hashes.min())


def thinned(authors: Indices, turns: Hashes, lengths: Indices, *, floor: int = MIN_CAP) -> Flags:
    """Which lessons (lessons,) stay so that no author (a number from 0) wrote more than `MAX_SHARE` of the characters,
    or twice an equal part where that is more; `floor` may always stay. Those with the lowest hashes do."""
    if not len(authors):
        return np.zeros(0, dtype=np.bool_)
    written = np.bincount(authors, weights=lengths).astype(np.int64)
    people = int((written > 0).sum())
    cap = max(floor, _cap(written, max(MAX_SHARE, 2 / people)))
    stay = np.ones(len(authors), dtype=np.bool_)
    for author in np.flatnonzero(written > cap):
        own = np.flatnonzero(authors == author)
        own = own[np.argsort(turns[own], kind="stable")]
        stay[own[np.cumsum(lengths[own]) > cap]] = False
    return stay


def _cap(written: Indices, share: float) -> int:
    """The most characters of anybody so that nobody's part of what then stays is above `share`."""
    if share >= 1:
        return int(written.max(initial=0))
    high = int(written.max(initial=0))
    low = 0
    while low < high:  # the part of the most diligent falls with the cap
        middle = (low + high + 1) // 2
        if middle <= share * int(np.minimum(written, middle).sum()):
            low = middle
        else:
            high = middle - 1
    return low
