"""Where text may be cut: between grapheme clusters, behind words, behind sentences with their quotes closed, in English
and Chinese. Knows no model."""

import re
import unicodedata
from typing import Final

_CJK: Final = re.compile(r"[\u3000-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
_TERMINATORS: Final = ".!?…。！？"
_CLOSERS: Final = "\"'”’」』）)]*_»"
_OPEN: Final = {"“": "”", "「": "」", "『": "』", "（": "）", "(": ")", "«": "»"}
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|prof|sr|jr|capt|lt|col|gen|vs|no)|(?<![\w'’])[A-Z](?<!I))\.$", re.IGNORECASE
)


def is_cjk(character: str) -> bool:
    """Whether no space belongs beside this character: Chinese and Japanese letters and full-width punctuation."""
    return bool(_CJK.match(character))


def is_cluster_boundary(text: str, position: int, *, more: bool) -> bool:
    """Whether a cut before `text[position]` splits no grapheme cluster (accents, emoji sequences, flags, Hangul). With
    `more`, text may still be appended: the end counts as a boundary only behind a character that nothing joins by
    itself."""
    if position <= 0:
        return True
    before = text[position - 1]
    if before == "\u200d":  # a joiner that joins nothing, or not yet
        return False
    if position >= len(text):
        return not (more and _may_be_joined(before))
    after = text[position]
    if after in "\u200d\u200c" or unicodedata.category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    if "\U000e0020" <= after <= "\U000e007f":
        return False
    if _is_regional(before) and _is_regional(after):
        start = position
        while start > 0 and _is_regional(text[start - 1]):
            start -= 1
        return (position - start) % 2 == 0
    return not (_is_hangul(before) and "\u1160" <= after <= "\u11ff")


def _may_be_joined(character: str) -> bool:
    return ord(character) > 0x2000 and unicodedata.category(character) in ("So", "Sk", "Mn", "Me", "Cf", "Sm")


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3"


def last_word_end(text: str, start: int, end: int) -> int:
    """The end of the last word that is certainly whole: text cut off anywhere may end inside a word. `end` when there
    is only one word or the text is Chinese."""
    if is_cjk(text[end - 1 : end]):
        return end
    words = list(re.finditer(r"\S+", text[start:end]))
    if len(words) < 2:
        return end
    return start + words[-2].end()


def last_sentence_end(text: str, start: int, end: int, before: str = "") -> int | None:
    """The end of the last whole sentence in `text[start:end]`, its closing quotes included; None when there is none.

    `before` is what the text goes on from: a quote opened there may be closed here. A sentence end outside all quotes
    is preferred to a later one inside, as long as it keeps at least half of the text.
    """
    quotes = _Quotes()
    for character in before.rsplit("\n", 1)[-1]:
        quotes.read(character)
    inside: int | None = None
    outside: int | None = None
    position = start
    while position < end:
        character = text[position]
        quotes.read(character)
        position += 1
        if character not in _TERMINATORS or not _ends_sentence(text, start, position, end):
            continue
        while position < end and (text[position] in _TERMINATORS or text[position] in _CLOSERS):
            if text[position] == '"' and not quotes.straight:
                break  # it opens the next sentence
            quotes.read(text[position])
            position += 1
        if quotes.are_closed:
            outside = position
        else:
            inside = position
    if outside is not None and (inside is None or inside < outside or 2 * (outside - start) >= end - start):
        return outside
    return inside if inside is not None else outside


def _ends_sentence(text: str, start: int, position: int, end: int) -> bool:
    """Whether the terminator in front of `position` ends a sentence: no number, no abbreviation, no letter follows."""
    if text[position - 1] in "。！？":
        return True
    following = text[position : position + 1] if position < end else ""
    if following and following.isalnum() and not is_cjk(following):
        return False
    return not (text[position - 1] == "." and _ABBREVIATION.search(text[max(start, position - 8) : position]))


class _Quotes:
    """Which quotes are open. A paragraph's end closes them all, as novels leave a speech open that goes on."""

    def __init__(self) -> None:
        self.straight = False
        self._open: list[str] = []

    @property
    def are_closed(self) -> bool:
        return not self.straight and not self._open

    def read(self, character: str) -> None:
        if character == "\n":
            self.straight = False
            self._open.clear()
        elif character == '"':
            self.straight = not self.straight
        elif character in _OPEN:
            self._open.append(_OPEN[character])
        elif self._open and character == self._open[-1]:
            self._open.pop()
