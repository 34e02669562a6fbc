"""How pleasant the listed words of a text are together: four numbers, for whole batches without a loop over texts.
Knows no weights and no label.

English words are VADER's with our own over them, Chinese ones our own list beside those (`polar_words`), and emoji
count as words; a negation that reaches a word turns it round (Hutto and Gilbert 2014). Hashed features learn such words
too, but each from its own few texts; the lists know words that no corpus has. Turns, degrees, phrases and what isn't
one token ("must-see", "10/10") are left to the rules.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.sentiment.emoji_valence import EMOJI
from models.sentiment.features import LAST_CODE, MARK, Codes, Ints, Units, hash_of, reached
from models.sentiment.language_guess import CHINESE
from models.sentiment.polar_words import chinese, english

Floats = NDArray[np.float64]
Words = tuple[Codes, Floats]  # the hashes of spellings, rising, and their valences

TONES = 4
_ALPHA = 15.0  # VADER's: a sum s becomes s / sqrt(s^2 + 15)
_NEGATED_PLEASANT, _NEGATED_UNPLEASANT = -0.74, -0.45  # VADER's N_SCALAR; "not terrible" is faint praise
# Chinese words in which a sign of negation negates nothing.
_NOT_NEGATING = (
    "特别 区别 分别 个别 级别 类别 性别 告别 离别 识别 辨别 鉴别 别人 别的 别说 别提 别样 别致 别墅 非常 莫非 莫名 "
    "非洲 是非 无比 无论 无数 无限 无敌 无非 无意中 未来 未免 未必 不仅 不过 不但 不只 不管 不论 不然 不禁 不愧 不断 "
    "不妨 不错 不如说 不知不觉 不得不 不能不 不由得 不少 不止 不时 不久 不同 不已 差不多 没错 没准"
)
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")  # as `split` shortens them


@dataclass(frozen=True, kw_only=True)
class Tones:
    """`features` (texts, TONES): the sum of all valences between -1 and 1, its size, whether there is a listed word,
    and the weaker of the pleasant and the unpleasant sum. Of each listed word its `begin` and `end` among the units'
    code points, its text (`owner`) and what it adds to the first of the features (`shares`)."""

    features: Floats
    begin: Ints
    end: Ints
    owner: Ints
    shares: Floats


def tones_of(units: Units, language: Literal["en", "zh"]) -> Tones:
    token, valence = _looked_up(units.hashes, _listed(language))
    begin, end, negated = units.begin[token], units.end[token], units.negated
    if language == "zh":
        first, last, found = _chinese_words(units)
        negated = _negated(units, first[found >= 0], last[found >= 0])
        polar = found != 0
        begin, end = np.concatenate([begin, first[polar]]), np.concatenate([end, last[polar]])
        valence = np.concatenate([valence, found[polar]])
        token = np.concatenate([token, np.searchsorted(units.begin, first[polar])])  # of its first character
    turned = np.where(valence > 0, _NEGATED_PLEASANT, _NEGATED_UNPLEASANT) * valence
    valence = np.where(negated[token], turned, valence)
    owner = units.owner[token]
    total = np.bincount(owner, valence, units.texts)
    pleasant = np.bincount(owner, np.maximum(valence, 0), units.texts)
    mixed = np.minimum(pleasant, pleasant - total)
    norm = np.sqrt(total * total + _ALPHA)
    score = total / norm
    listed = np.bincount(owner, minlength=units.texts) > 0
    features = np.stack([score, np.abs(score), listed, mixed / np.sqrt(mixed * mixed + _ALPHA)], axis=1)
    return Tones(features=features, begin=begin, end=end, owner=owner, shares=valence / norm[owner])


def _chinese_words(units: Units) -> tuple[Ints, Ints, Floats]:
    """Where listed words of Chinese characters begin and end, and their valences, 0 of those that only keep others out:
    the longest from left to right (forward maximum matching)."""
    longest = np.zeros(len(units.codes), np.int64)
    valence = np.zeros(len(units.codes))
    for size, (firsts, words) in _chinese_by_size().items():  # shorter ones first: a longer one overwrites
        at = np.flatnonzero(firsts[units.codes])
        at = at[at + size <= len(units.codes)]
        found, valences = _looked_up(units.hashed(at, at + size, 0), words)
        longest[at[found]] = size
        valence[at[found]] = valences
    kept: list[int] = []
    free = 0
    for first in np.flatnonzero(longest).tolist():
        if first >= free:
            free = first + int(longest[first])
            kept.append(first)
    begin = np.array(kept, np.int64)
    return begin, begin + longest[begin], valence[begin]


def _negated(units: Units, begin: Ints, end: Ints) -> NDArray[np.bool_]:
    """Of each token. Signs inside these words, which are pleasant or neither, negate nothing: "非常", "不错"."""
    steps = np.bincount(begin, minlength=len(units.codes) + 1) - np.bincount(end, minlength=len(units.codes) + 1)
    covered = np.cumsum(steps)[units.begin] > 0
    return reached(units.negations & ~covered, units.token_kinds == MARK, units.owner)


def _looked_up(hashes: Codes, words: Words) -> tuple[Ints, Floats]:
    """Which of `hashes` are those of `words`, and their valences."""
    keys, valences = words
    place = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    found = np.flatnonzero(keys[place] == hashes)
    return found, valences[place[found]]


@cache
def _listed(language: Literal["en", "zh"]) -> Words:
    """Of the words and signs that are one token."""
    listed = {sign: valence for sign, valence in EMOJI.items() if len(sign) == 1} | english()
    if language == "zh":
        listed |= {word.lower(): valence for word, valence in chinese().items() if not CHINESE.search(word)}
    return _table({word: valence for word, valence in listed.items() if valence})


@cache
def _chinese_by_size() -> dict[int, tuple[NDArray[np.bool_], Words]]:
    """For each number of characters, rising: which code points begin such a word, and the words."""
    listed = dict.fromkeys(_NOT_NEGATING.split(), 0.0) | chinese()
    words = sorted((word for word in listed if CHINESE.match(word)), key=len)
    found = {}
    for size, own in groupby(words, key=len):
        some = {word: listed[word] for word in own}
        firsts = np.zeros(LAST_CODE + 1, bool)
        firsts[[ord(word[0]) for word in some]] = True
        found[size] = (firsts, _table(some))
    return found


def _table(words: dict[str, float]) -> Words:
    valence_of = {hash_of(_STRETCHED.sub(r"\1\1", word)): valence for word, valence in words.items()}
    keys = np.array(sorted(valence_of), np.uint64)
    return keys, np.array([valence_of[int(key)] for key in keys])
