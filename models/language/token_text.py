"""From tokens to text while they come: whole code points only. Knows no model."""

from collections.abc import Callable
from typing import Final

_UNFINISHED: Final = "\N{REPLACEMENT CHARACTER}"
_MOST_TOKENS: Final = 4  # of a code point, which has at most four bytes in UTF-8


class TokenText:
    """Text of a growing list of tokens. `decode` turns tokens into text and marks broken bytes with U+FFFD.

    A token is decoded together with those before it that belong to the same word, because some tokenizers write a
    space only between tokens.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._context: list[int] = []  # their text was given out
        self._held: list[int] = []

    def add(self, tokens: list[int]) -> str:
        """The text that is whole now."""
        return "".join(self._add(token) for token in tokens)

    def _add(self, token: int) -> str:
        self._held.append(token)
        given = ""
        while self._held:
            text = self._new_text()
            if not text.endswith(_UNFINISHED):
                self._context, self._held = self._held, []
                return given + text
            if len(self._held) < _MOST_TOKENS:
                break
            given += self._decode(self._held[:1])  # whatever follows, this one never becomes a whole code point
            self._context, self._held = [], self._held[1:]
        return given

    def rest(self) -> str:
        """What is still held back, with U+FFFD for what never became a code point."""
        text = self._new_text() if self._held else ""
        self._context, self._held = [], []
        return text

    def _new_text(self) -> str:
        before = self._decode(self._context) if self._context else ""
        return self._decode(self._context + self._held)[len(before) :]
