"""Finds where a growing text begins to repeat itself. Knows words and CJK characters, and no model."""

import re
import unicodedata
from collections import Counter
from typing import Final

_LONGEST_PERIOD: Final = 48  # words or CJK characters in the longest cycle that is looked for
_SENTENCE_UNITS: Final = 4  # shorter sentences ("He ran.") may recur
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


class LoopDetector:
    """Fed with one character after another; `start` becomes the position of the first character that only repeats.

    Three kinds of loop: a cycle of words (the same one to 48 words at least three times), a sentence said twice running
    or three times in all, and two sentences running that the story already holds.
    """

    def __init__(self, story: str) -> None:
        self.start: int | None = None
        self._units: list[str] = []
        self._positions: list[int] = []
        self._runs = [0] * (_LONGEST_PERIOD + 1)  # _runs[p]: how many units running equal the one p before them
        self._word: list[str] = []
        self._word_start = 0
        self._position = 0
        self._sentence: list[str] = []
        self._sentence_start: int | None = None
        self._last = ""
        self._repeats = 0
        self._seen: Counter[str] = Counter()
        self._story: frozenset[str] = frozenset(_sentences(story[-8_000:]))
        self._copied: int | None = None  # where the preceding sentence began, when the story holds it

    def feed(self, character: str) -> None:
        """Read one more character. After `start` is set nothing changes any more."""
        if self.start is not None:
            return
        if character.isalnum() and not _CJK.match(character):
            if not self._word:
                self._word_start = self._position
            self._word.append(character.lower())
        elif character not in "'’" and unicodedata.category(character)[0] != "M":
            self._end_word()
            if _CJK.match(character):
                self._unit(character, self._position)
            if character in ".!?。！？\n":
                self._end_sentence()
        self._position += 1

    def finish(self) -> None:
        """Read the last word and sentence as ended."""
        if self.start is None:
            self._end_word()
            self._end_sentence()

    def _end_word(self) -> None:
        if self._word:
            word, self._word = "".join(self._word), []
            self._unit(word, self._word_start)

    def _unit(self, unit: str, position: int) -> None:
        self._units.append(unit)
        self._positions.append(position)
        if self._sentence_start is None:
            self._sentence_start = position
        self._sentence.append(unit)
        count = len(self._units)
        for period in range(1, min(_LONGEST_PERIOD, count - 1) + 1):
            same = unit == self._units[-1 - period]
            self._runs[period] = self._runs[period] + 1 if same else 0
            if self._runs[period] >= _repeated_units(period):
                first_repeat = self._positions[count - self._runs[period]]
                self.start = first_repeat if self.start is None else min(self.start, first_repeat)

    def _end_sentence(self) -> None:
        units, self._sentence = self._sentence, []
        start, self._sentence_start = self._sentence_start, None
        if start is None or len(units) < _SENTENCE_UNITS:
            return
        sentence = " ".join(units)
        self._seen[sentence] += 1
        if sentence == self._last or self._seen[sentence] >= 3:
            self.start = start
        elif sentence in self._story:
            if self._copied is not None:
                self.start = self._copied
            self._copied = start
        else:
            self._copied = None
        self._last = sentence


def _repeated_units(period: int) -> int:
    """How many repeated units make a cycle of this period a loop: one word eight times ("ha ha ha" is laughter), a
    pair five times, anything longer three times."""
    return {1: 7, 2: 8, 3: 9}.get(period, 2 * period)


def _sentences(text: str) -> list[str]:
    ended = re.split(r"[.!?。！？\n]", text)
    split = (
        re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+", _plain(part)) for part in ended
    )
    return [" ".join(units) for units in split if len(units) >= _SENTENCE_UNITS]


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c not in "'’_" and unicodedata.category(c)[0] != "M")
