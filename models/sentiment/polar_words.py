"""Words of English and Chinese that are pleasant or unpleasant by themselves, found in a text. Knows no grammar: a
negation before a word is somebody else's business.

English is VADER's lexicon (Hutto and Gilbert 2014; MIT) with our own words and phrases over it (lexicon_en.tsv),
Chinese is our own list (lexicon_zh.tsv). In Chinese the longest listed word wins, from left to right (forward maximum
matching); a listed word of valence 0 keeps a shorter one inside it from being found ("好像" is not "好").
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from models.sentiment.emoji_valence import Face
from models.sentiment.language_guess import CHINESE
from models.sentiment.reading import Reading


class PolarWord(NamedTuple):
    """`reading.text[start:end]` and its valence, -4 to 4 and never 0."""

    start: int
    end: int
    valence: float


class Word(NamedTuple):
    """A word of Latin letters, lower-cased, and whether it was written in capitals."""

    start: int
    end: int
    text: str
    capitals: bool


_WORD = re.compile(r"[A-Za-z\u00c0-\u024f0-9](?:[A-Za-z\u00c0-\u024f0-9'/+-]*[A-Za-z\u00c0-\u024f0-9+])?")
_LISTED = re.compile(r'"([^"]+)"|(\S+)')
_STRETCHED = re.compile(r"(.)\1{2,}")
_PLAIN = re.compile(r"[a-z][a-z'-]*[a-z]|[a-z]")


def _read_list(name: str) -> Iterator[tuple[str, float]]:
    for line in resources.files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            valence, _provenance, words = line.split("\t")
            for quoted, single in _LISTED.findall(words):
                yield (quoted or single), float(valence)


@cache
def english() -> dict[str, float]:
    """Single words only, lower-cased."""
    vader = resources.files("vaderSentiment").joinpath("vader_lexicon.txt").read_text(encoding="utf-8")
    entries = (line.split("\t")[:2] for line in vader.splitlines() if line)
    words = {word: float(valence) for word, valence in entries if _PLAIN.fullmatch(word)}
    words.update((word, valence) for word, valence in _read_list("lexicon_en.tsv") if " " not in word)
    return words


@cache
def english_phrases() -> dict[str, tuple[tuple[tuple[str, ...], float], ...]]:
    """By their first word, longest first."""
    phrases: defaultdict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    for phrase, valence in _read_list("lexicon_en.tsv"):
        if " " in phrase:
            words = tuple(phrase.split(" "))
            phrases[words[0]].append((words, valence))
    return {first: tuple(sorted(found, key=lambda entry: -len(entry[0]))) for first, found in phrases.items()}


@cache
def chinese() -> dict[str, float]:
    return dict(_read_list("lexicon_zh.tsv"))


@cache
def _chinese_lengths() -> dict[str, tuple[int, ...]]:
    """For each first character the lengths of the words that begin with it, longest first."""
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for word in chinese():
        if CHINESE.match(word):
            lengths[word[0]].add(len(word))
    return {first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()}


def words_of(text: str) -> list[Word]:
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        found.append(Word(match.start(), match.end(), word.lower(), len(word) > 1 and word.isupper()))
    return found


def valence_of(word: str) -> float:
    """0 for an unknown word. A stretched word ("soooo", "goood") is tried with two letters and with one."""
    lexicon = english()
    valence = lexicon.get(word)
    if valence is None and _STRETCHED.search(word):
        twice = _STRETCHED.sub(r"\1\1", word)
        valence = lexicon.get(twice, lexicon.get(_STRETCHED.sub(r"\1", word)))
    return valence or 0.0


def match_english(words: list[Word]) -> list[tuple[int, int, float]]:
    """Every listed word or phrase as (first word, words, valence), those of valence 0 left out."""
    phrases = english_phrases()
    found = []
    at = 0
    while at < len(words):
        word = words[at].text
        length, valence = 1, 0.0
        for phrase, phrase_valence in phrases.get(word, ()):
            if len(phrase) <= len(words) - at and all(
                words[at + offset].text == part for offset, part in enumerate(phrase)
            ):
                length, valence = len(phrase), phrase_valence
                break
        else:
            valence = valence_of(word)
        if valence:
            found.append((at, length, valence))
        at += length
    return found


def match_chinese(text: str, start: int = 0, end: int | None = None) -> list[PolarWord]:
    """Words of Chinese characters in `text[start:end]`, by forward maximum matching."""
    lexicon, lengths = chinese(), _chinese_lengths()
    end = len(text) if end is None else end
    found = []
    at = start
    while at < end:
        for length in lengths.get(text[at], ()):
            word = text[at : at + length]
            valence = lexicon.get(word)
            if valence is not None and at + length <= end:
                if valence:
                    found.append(PolarWord(at, at + length, valence))
                at += length
                break
        else:
            at += 1
    return found


def polar_words(reading: Reading) -> list[PolarWord]:
    """Every polar word of the text in order of its beginning, Latin ones inside Chinese included."""
    words = words_of(reading.text)
    found = [
        PolarWord(words[at].start, words[at + length - 1].end, valence)
        for at, length, valence in match_english(words)
        if not (reading.language == "zh" and words[at].text in chinese())
    ]
    if reading.language == "zh":
        lexicon = chinese()
        found += [PolarWord(word.start, word.end, lexicon[word.text]) for word in words if lexicon.get(word.text)]
    if reading.chinese:
        found += match_chinese(reading.text)
    return sorted(apart_from(reading.faces, found))


def apart_from(taken: Sequence[PolarWord | Face], words: Iterable[PolarWord]) -> list[PolarWord]:
    """The words that share no character with any of `taken`, in time linear in both: a text may hold thousands."""
    characters = {at for piece in taken for at in range(piece.start, piece.end)}
    return [word for word in words if characters.isdisjoint(range(word.start, word.end))]
