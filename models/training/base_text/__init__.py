"""The base text: short pieces of plain prose of Inkwell's own, half to be replayed in training against forgetting, half
to measure what was forgotten. Knows no model.

Files lie beside this one, a folder a split and a file a language; README.md there says where they come from.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Split = Literal["replay", "held_out"]
Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
FOLDER: Final = Path(__file__).parent

_TITLE: Final = re.compile(r"^# (.+)\n+", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One short story, letter or description. `text` holds paragraphs parted by an empty line, without the title."""

    title: str
    text: str
    language: Language


def pieces(split: Split, languages: Iterable[Language] = LANGUAGES) -> tuple[Piece, ...]:
    """The pieces of `split` in order, language by language. Raises OSError where the package lacks its files."""
    found = []
    for language in languages:
        _, *parts = _TITLE.split((FOLDER / split / f"{language}.txt").read_text("utf-8"))
        found += [
            Piece(title=title, text=text.strip(), language=language)
            for title, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    return tuple(found)
