"""Rules that weigh the polar words of an English text by what stands around them. Knows no probabilities.

They are VADER's (Hutto and Gilbert, ICWSM 2014), with its words, boosters, negations and constants out of
vaderSentiment, applied in our own loop because the package tells only totals, and with these repairs: negation reaches
to the beginning of its clause (not three words) and two negations cancel; a negated unpleasant word is only mildly
pleasant; "never happier" is not a negation; emoji count by our own values, not by the words of their names; "although"
weakens its clause as "but" weakens what came before.
"""

import re
from itertools import pairwise

from vaderSentiment.vaderSentiment import BOOSTER_DICT, C_INCR, N_SCALAR, NEGATE

from models.sentiment.polar_words import PolarWord, Word, match_english, words_of

_NEGATIONS = frozenset(NEGATE) - {"despite", "uhuh", "uh-uh", "none"} | {
    "no", "n't", "cant", "dont", "didnt", "isnt", "wasnt", "nobody", "hardly", "barely", "lacks", "lacking", "zero",
    "neither", "noone", "ain't", "not", "nothing", "without", "fails", "failed", "isn't",
}  # fmt: skip
_NEGATION_REACH = 5  # words
_SECOND_NEGATION_REACH = 9  # "there wasn't a single scene I didn't love"
_UNSURPASSED = frozenset(
    ("never", "couldn't", "couldnt", "can't", "cant")
)  # "never been happier", "couldn't be better"
_NEGATED_UNPLEASANT = -0.45  # "not terrible" is faint praise
_COMPARATIVE = re.compile(r"^(?:.{3,}er|more|so|this|such|as)$")
_BUT = frozenset(("but", "however", "nevertheless", "except"))
_ALTHOUGH = frozenset(("although", "though", "while", "despite", "even"))
_BEFORE_BUT, _AFTER_BUT = 0.5, 1.4
_CLAUSE_BREAK = re.compile(r"[,.;:!?()\n\"]|--| - ")
_STRETCHED = re.compile(r"([a-z])\1{2,}")
_EMPHASIS_OF_STRETCH = 0.4
_MAX_MARKS = 4
_EXCLAMATION = 0.292
_REACH_OF_BOOSTER = (1.0, 0.95, 0.9)


def weigh_english(text: str) -> list[PolarWord]:
    """The polar words of `text` (its faces blanked out) with their weights after all rules, strongest rule last."""
    words = words_of(text)
    hits = match_english(words)
    if not hits:
        return []
    clauses = _clauses(text, words)
    shouting = 0 < sum(word.capitals for word in words) < len(words)
    taken = {at + offset for at, length, _ in hits for offset in range(length)}
    contrast = _contrast(words)
    weighed = []
    for at, length, valence in hits:
        start, end = words[at].start, words[at + length - 1].end
        if any(word.capitals for word in words[at : at + length]) and shouting:
            valence += C_INCR if valence > 0 else -C_INCR
        if _STRETCHED.search(words[at].text):
            valence += _EMPHASIS_OF_STRETCH if valence > 0 else -_EMPHASIS_OF_STRETCH
        valence += _boost(words, at, clauses, taken, valence)
        if _negations(words, at, clauses, taken) % 2:
            valence *= N_SCALAR if valence > 0 else _NEGATED_UNPLEASANT
        weighed.append(PolarWord(start, end, valence * _share_of(contrast, words, at, clauses)))
    marks = min(text.count("!"), _MAX_MARKS) * _EXCLAMATION
    if marks:
        scale = 1 + marks / sum(abs(word.valence) for word in weighed if word.valence) if any(weighed) else 1.0
        weighed = [word._replace(valence=word.valence * scale) for word in weighed]
    return weighed


def _clauses(text: str, words: list[Word]) -> list[int]:
    """The number of the clause of each word."""
    number, clauses = 0, [0] if words else []
    for before, word in pairwise(words):
        between = text[before.end : word.start]
        if (len(between) > 1 and _CLAUSE_BREAK.search(between)) or word.text in _BUT:
            number += 1
        clauses.append(number)
    return clauses


def _boost(words: list[Word], at: int, clauses: list[int], taken: set[int], valence: float) -> float:
    total = 0.0
    for distance, share in enumerate(_REACH_OF_BOOSTER, start=1):
        before = at - distance
        if before < 0 or clauses[before] != clauses[at] or before in taken:
            break
        boost = BOOSTER_DICT.get(words[before].text, 0.0)
        total += share * (boost if valence > 0 else -boost)
    return total


def _negations(words: list[Word], at: int, clauses: list[int], taken: set[int]) -> int:
    count = 0
    for before in range(at - 1, max(at - 1 - _SECOND_NEGATION_REACH, -1), -1):
        if clauses[before] != clauses[at] or (not count and at - before > _NEGATION_REACH):
            break
        word = words[before].text
        if before in taken and word not in _NEGATIONS:
            continue
        if word not in _NEGATIONS and not word.endswith("n't"):
            continue
        if word in _UNSURPASSED and any(_COMPARATIVE.search(words[n].text) for n in range(before + 1, at + 1)):
            continue
        if word in ("not", "no") and before + 1 < at and words[before + 1].text in ("only", "just", "doubt", "wonder"):
            continue
        if before in taken:
            continue
        count += 1
    return count


def _contrast(words: list[Word]) -> int | None:
    """The last word that turns the text around, unless nothing follows it."""
    return next((at for at in range(len(words) - 2, 0, -1) if words[at].text in _BUT), None)


def _share_of(contrast: int | None, words: list[Word], at: int, clauses: list[int]) -> float:
    if contrast is not None:
        return _BEFORE_BUT if at < contrast else _AFTER_BUT
    clause = clauses[at]
    first = clauses.index(clause)
    return _BEFORE_BUT if words[first].text in _ALTHOUGH and clause != clauses[-1] else 1.0
