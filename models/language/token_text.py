"""From tokens to text while they come: whole code points only. Knows no model."""

from collections.abc import Callable
from typing import Final

_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"


class TokenText:
    """Text of a growing list of tokens. `decode` turns tokens into text, with U+FFFD for bytes that are no code point;
    at the end of a text one such sign may stand for the beginning of a code point whose other bytes are still to come.

    Tokens are decoded together with those before them, because some tokenizers write a space only between tokens.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._context: list[int] = []  # the last tokens that ended with a whole code point
        self._open: list[int] = []  # the tokens since
        self._given = 0  # characters of their text that were given out

    def add(self, tokens: list[int]) -> str:
        """The text that is whole now."""
        return "".join(self._add(token) for token in tokens)

    def _add(self, token: int) -> str:
        self._open.append(token)
        text = self._text()
        if text.endswith(_BROKEN):
            whole = text[self._given : -1]
            self._given += len(whole)
            return whole
        whole = text[self._given :]
        self._context, self._open, self._given = self._open, [], 0
        return whole

    def rest(self) -> str:
        """What is still held back: U+FFFD for a code point that was never finished."""
        text = self._text()[self._given :] if self._open else ""
        self._context, self._open, self._given = [], [], 0
        return text

    def _text(self) -> str:
        before = self._decode(self._context) if self._context else ""
        return self._decode(self._context + self._open)[len(before) :]
