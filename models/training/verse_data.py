"""The verses that a generator learns from: rows of token numbers and the vocabulary. Knows no network.

A folder of the data holds `zh.tsv` and `en.tsv` (see `verse_recipe`). What is held out is told by a hash of a poem's
first line, so that a poem that stands there twice is on one side.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.gan.verse_forms import (
    BREAK,
    FORMS,
    GOES_ON,
    LENGTH,
    LINES,
    MAX_PIECES,
    MIN_PIECES,
    Form,
    Language,
    pieces_of,
    places_of,
)

_HELD_OUT: Final[dict[Language, int]] = {"zh": 16, "en": 8}  # one poem of so many
BREAK_PIECE: Final = "\n"

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Verses:
    """Rows of one form, BREAK after their end. `lengths`: how many tokens of a row are to be learned; a row that has
    fewer lines than a verse is no whole one."""

    form: Form
    tokens: Rows  # (n, LENGTH[form])
    lengths: Rows  # (n,)
    whole: NDArray[np.bool_]  # (n,)

    @property
    def places(self) -> Rows:
        return np.array([places_of(self.form, row) for row in self.tokens.tolist()], np.int64).reshape(
            self.tokens.shape
        )

    def complete(self) -> "Verses":
        keep = self.whole
        return Verses(form=self.form, tokens=self.tokens[keep], lengths=self.lengths[keep], whole=self.whole[keep])


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """`pieces` is the vocabulary, the line break first and then the most frequent first."""

    language: Language
    pieces: tuple[str, ...]
    train: tuple[Verses, ...]  # one for each form
    held_out: tuple[Verses, ...]


def is_held_out(language: Language, first_line: str) -> bool:
    return hashlib.blake2b(first_line.encode(), digest_size=8).digest()[0] % _HELD_OUT[language] == 0


def read(folder: Path, language: Language, vocabulary: int, pieces: Sequence[str] | None = None) -> Corpus:
    """`pieces`: the vocabulary of an earlier run instead of the data's own. Raises ValueError in one sentence."""
    path = folder / f"{language}.tsv"
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        poems = [(form, text.split("/")) for form, text in rows]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no verses (`inkwell gan verse data` makes it): {error}") from error
    sides = [is_held_out(language, lines[0]) for _, lines in poems]
    if pieces is None:
        learned = [lines for (_, lines), out in zip(poems, sides, strict=True) if not out]
        pieces = (BREAK_PIECE, *_vocabulary(language, learned, vocabulary - 1))
    number = {piece: place for place, piece in enumerate(pieces)}
    sets: list[tuple[Verses, ...]] = []
    for wanted in (False, True):
        chosen = [each for each, out in zip(poems, sides, strict=True) if out == wanted]
        sets.append(
            tuple(
                _verses(form, [lines for each, lines in chosen if each == form], number, overlap=not wanted)
                for form in FORMS[language]
            )
        )
    if any(not len(verses.tokens) for verses in sets[0]):
        raise ValueError(f"{path} has too few verses to learn from.")
    return Corpus(language=language, pieces=tuple(pieces), train=sets[0], held_out=sets[1])


def _vocabulary(language: Language, poems: list[list[str]], size: int) -> list[str]:
    """The most frequent characters, or the pieces of words that WordPiece's trainer finds."""
    if language == "zh":
        counts = Counter(char for lines in poems for line in lines for char in line)
        return [char for char, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:size]]
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(continuing_subword_prefix=GOES_ON))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, continuing_subword_prefix=GOES_ON, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator((line for lines in poems for line in lines), trainer)
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)


def _verses(form: Form, poems: list[list[str]], number: dict[str, int], *, overlap: bool) -> Verses:
    width = LENGTH[form]
    rows: list[list[int]] = []
    whole: list[bool] = []
    for lines in poems:
        for part in _windows(form, _known(form, lines, number), overlap=overlap):
            rows.append([token for line in part for token in (*line, *([BREAK] if form == "en" else []))])
            whole.append(len(part) == LINES)
    tokens = np.full((len(rows), width), BREAK, np.int64)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    return Verses(form=form, tokens=tokens, lengths=np.array([len(row) for row in rows]), whole=np.array(whole, bool))


def _known(form: Form, lines: list[str], number: dict[str, int]) -> Iterator[list[list[int]]]:
    """Stretches of lines that the vocabulary can write and that are neither too short nor too long."""
    run: list[list[int]] = []
    for line in lines:
        pieces = pieces_of(form, line, number)
        if pieces is not None and (form != "en" or MIN_PIECES <= len(pieces) <= MAX_PIECES):
            run.append([number[piece] for piece in pieces])
            continue
        yield run
        run = []
    yield run


def _windows(form: Form, runs: Iterator[list[list[int]]], *, overlap: bool) -> Iterator[list[list[int]]]:
    """Verses of four lines: of a Chinese poem one after another, of an English speech from each line on while it is
    learned from. The rest of a speech is taken too, shorter."""
    step = 1 if form == "en" and overlap else LINES
    for run in runs:
        shortest = 2 if form == "en" and overlap else LINES
        for start in range(0, len(run) - shortest + 1, step):
            yield run[start : start + LINES]
