"""The forms of a verse: how its tokens stand in lines, and how text becomes tokens and back. Knows no network and no
seed.

A verse is a row of token numbers. Chinese ones are characters, 5 or 7 to a line, and a line's end is told by the place
alone. English ones are pieces of words (greedy longest match, as WordPiece; "##" before what goes on a word) and marks,
and BREAK ends each line. A generator is told the place of the token that comes
next: its position in a Chinese form, the line's number in English.
"""

import re
from collections.abc import Container, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["en", "zh5", "zh7"]  # as VerseForm of the requests
Language = Literal["en", "zh"]

LINES: Final = 4
BREAK: Final = 0  # ends an English line, fills a finished verse, and stands before the first token
MIN_PIECES: Final = 3  # of an English line, marks included
MAX_PIECES: Final = 14
GOES_ON: Final = "##"
WIDTH: Final[dict[Form, int]] = {"zh5": 5, "zh7": 7}
FORMS: Final[dict[Language, tuple[Form, ...]]] = {"en": ("en",), "zh": ("zh5", "zh7")}
PLACES: Final[dict[Language, int]] = {"en": LINES + 1, "zh": LINES * (5 + 7)}
LENGTH: Final[dict[Form, int]] = {
    "en": LINES * (MAX_PIECES + 1),
    "zh5": LINES * 5,
    "zh7": LINES * 7,
}  # of a whole verse
_FIRST_PLACE: Final[dict[Form, int]] = {"en": 0, "zh5": 0, "zh7": LINES * 5}

_WORD: Final = re.compile(r"'?[A-Za-z]+(?:['-][A-Za-z]+)*'?|[,.;:!?]")
MARKS: Final = ",.;:!?"


def language_of(form: Form) -> Language:
    return "en" if form == "en" else "zh"


def words_of(line: str) -> list[str]:
    """An English line as words and marks; what is neither is left out."""
    return _WORD.findall(line.replace("’", "'").replace("--", ", "))


def pieces_of(form: Form, line: str, known: Container[str]) -> list[str] | None:
    """A line as pieces of the vocabulary; None where a character is in none of them."""
    if form != "en":
        return list(line) if all(char in known for char in line) else None
    pieces: list[str] = []
    for word in words_of(line):
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = (GOES_ON if start else "") + word[start:end]
                if piece in known:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return None
    return pieces


def places_of(form: Form, tokens: Sequence[int]) -> list[int]:
    """The place of each of `tokens`, in an English verse LINES after the last line."""
    if form != "en":
        return [_FIRST_PLACE[form] + position for position in range(len(tokens))]
    places, line = [], 0
    for token in tokens:
        places.append(line)
        line = min(LINES, line + (token == BREAK))
    return places


def place_after(form: Form, tokens: Sequence[int]) -> int:
    """The place of the token that comes after `tokens`."""
    if form != "en":
        return _FIRST_PLACE[form] + len(tokens)
    return min(LINES, tokens.count(BREAK))


# Where a line stands: at its beginning, too short to end, free to end, as long as it may be (or after the last one).
BEGINS, SHORT, FREE, FULL = range(4)


def masks(form: Form, pieces: Sequence[str]) -> NDArray[np.bool_]:
    """(4, vocabulary): which tokens may come at each of BEGINS, SHORT, FREE and FULL. A Chinese line has no BREAK; an
    English one begins with no mark and no piece that goes on a word."""
    may = np.ones((4, len(pieces)), bool)
    may[:FREE, BREAK] = False
    may[FREE, BREAK] = form == "en"
    if form == "en":
        may[BEGINS] &= [piece not in MARKS and not piece.startswith(GOES_ON) for piece in pieces]
        may[FULL, BREAK + 1 :] = False
    return may


def stage(form: Form, tokens: Sequence[int]) -> int:
    """Where the line stands to which the next token comes."""
    if form != "en":
        return FREE
    count = in_line(tokens)
    if tokens.count(BREAK) >= LINES or count >= MAX_PIECES:
        return FULL
    return BEGINS if count == 0 else SHORT if count < MIN_PIECES else FREE


def in_line(tokens: Sequence[int]) -> int:
    """How many tokens the English line that is being written has."""
    count = 0
    for token in reversed(tokens):
        if token == BREAK:
            break
        count += 1
    return count


def finished(form: Form, tokens: Sequence[int], lines: int = LINES) -> bool:
    return tokens.count(BREAK) >= lines if form == "en" else len(tokens) >= lines * WIDTH[form]


def lines_of(form: Form, pieces: Sequence[str]) -> tuple[str, ...]:
    """The verse as people read it. `pieces` are the tokens' texts, BREAK's is a line feed."""
    if form != "en":
        text = "".join(pieces)
        return tuple(text[start : start + WIDTH[form]] for start in range(0, len(text), WIDTH[form]))
    text = " ".join(pieces).replace(f" {GOES_ON}", "")
    return tuple(_sentence(line) for line in text.split("\n") if line.strip())


def _sentence(line: str) -> str:
    words = re.sub(rf"\s+([{re.escape(MARKS)}])", r"\1", line.strip())
    first = re.search("[A-Za-z]", words)
    return words if first is None else words[: first.start()] + first[0].upper() + words[first.end() :]
