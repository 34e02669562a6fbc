"""Tells what is worth learning from: the language of a cleaned text, and why a text teaches nothing. Knows no file and
no author."""

import zlib
from typing import Final

from models.sentiment.language_guess import CHINESE, guess_language, latin_words

MIN_CHARACTERS: Final = 24
MIN_CHINESE: Final = 10
MIN_LETTERS_SHARE: Final = 0.5  # of all characters that are no white space
MAX_REPEATED_VARIETY: Final = 0.5  # below it a text is looked at closely
MIN_DEFLATED: Final = 0.2  # prose of a few hundred characters deflates to 0.5 or more, of many thousands to 0.35
_MIN_WORDS: Final = 12
_COMMON_WORDS: Final = (
    "the a an and of to in was he she it that his her i you had with for as on at but not they is we my be were from"
    " said all so there no what have him them then when out up are this"
)
_COMMON: Final = frozenset(_COMMON_WORDS.split())


def language_of(text: str) -> str:
    """ "en", "zh", "other" (another language) or "none" (no language at all)."""
    if text.isascii():
        if _is_plainly_english(text):
            return "en"
    elif len(CHINESE.findall(text, 0, 120)) >= 40:
        return "zh"
    return guess_language(text, latin_words(text))


def _is_plainly_english(text: str) -> bool:
    # A search for a word that is there ends where it stands; splitting takes ten times as long.
    if (" the " in text) + (" and " in text) + (" of " in text) + (" to " in text) + (" was " in text) >= 3:
        return True
    words = text[:120].lower().split()
    return len(words) > 4 and len(_COMMON.intersection(words)) >= 3


def is_short(text: str, language: str) -> bool:
    return len(text) < (MIN_CHINESE if language == "zh" else MIN_CHARACTERS)


def why_not(text: str, language: str, *, letters: int, variety: float) -> str:
    """Why nothing is to be learned from a text, "" where something is. `letters` counts its letters and figures,
    `variety` estimates its distinct runs of five of them to all.

    "symbols": fewer than half of what is visible are letters. "repetitive": it says the same again and again.
    "gibberish": English by its letters, without a single common word of it."""
    if letters < MIN_LETTERS_SHARE * len(text) and letters < MIN_LETTERS_SHARE * len("".join(text.split())):
        return "symbols"
    if variety < MAX_REPEATED_VARIETY:
        raw = text[:8_000].encode()
        if len(zlib.compress(raw)) < MIN_DEFLATED * len(raw):
            return "repetitive"
    if language == "en" and not _is_plainly_english(text):
        words = text.lower().split()
        if len(words) >= _MIN_WORDS and _COMMON.isdisjoint(words):
            return "gibberish"
    return ""
