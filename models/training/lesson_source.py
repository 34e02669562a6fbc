"""What the families of language models take from a snapshot, beside the base text and the canaries. Knows no model."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from models.language.normal_form import is_chinese
from models.serving.training import RunOptions
from models.training.base_text import Language, pieces
from models.training.gate import Learned, Limits, drawn
from models.training.memorisation import Canary, canaries
from models.training.run_errors import NothingToLearnError
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Passage, Split
from models.training.snapshot_split import HELD_OUT_SHARE, stable_hash

MAX_HELD_CHARACTERS: Final = 40_000_000  # with contexts: more than any run here reads
HELD_OUT_PASSAGES: Final = 48  # that are judged, drawn evenly: each costs a pass of every model compared


class Source:
    """The passages of `snapshot` in the languages that a model is for."""

    def __init__(self, snapshot: Snapshot, options: RunOptions, *, languages: tuple[Language, ...]) -> None:
        """Raises NothingToLearnError when there are fewer characters to learn than the options ask for, or none held
        out."""
        self._snapshot, self._options, self.languages = snapshot, options, languages
        # Those whose words are held out may all write in other languages: then some passages are, by a hash that
        # never moves either.
        self._divides = next(self._in_languages("held_out"), None) is None
        self.authors: set[str] = set()
        self.characters = self.passages = 0
        by_author: dict[str, int] = {}
        for passage in self.read("train"):
            self.passages += 1
            self.characters += len(passage.text)
            by_author[passage.author] = by_author.get(passage.author, 0) + len(passage.text)
        self.authors = set(by_author)
        if self.characters < options.min_characters:
            raise NothingToLearnError(
                f"Characters to learn in a language that it writes: {self.characters:,}; it takes "
                f"{options.min_characters:,}."
            )
        if len(self.authors) < options.min_authors:
            raise NothingToLearnError(
                f"People who shared words that it could learn: {len(self.authors)}; it takes {options.min_authors}."
            )
        self.held_out = drawn(self.read("held_out"), HELD_OUT_PASSAGES, options.seed)
        if not self.held_out:
            raise NothingToLearnError("There are no words of anybody's left to judge it by.")
        self._largest = max(by_author.values())

    def read(self, split: Split) -> Iterator[Passage]:
        """One by one; a snapshot may be larger than memory."""
        if not self._divides:
            return self._in_languages(split)
        return (
            passage
            for passage in self._in_languages("train")
            if (stable_hash(passage.id) < HELD_OUT_SHARE * 2**64) == (split == "held_out")
        )

    def _in_languages(self, split: Split) -> Iterator[Passage]:
        return (passage for passage in self._snapshot.passages(split) if self._takes(passage))

    def _takes(self, passage: Passage) -> bool:
        if "zh" in self.languages:
            return True
        return passage.language != "zh" and not is_chinese(passage.text)

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """What is planted among the lessons: always the same for the same seed."""
        return canaries(self._options.seed, language="en")

    def lessons(self, *, context: int) -> list[Passage]:
        """People's passages to learn, with at most `context` characters of what stands before each: all of them, or a
        fair draw that fits into memory, in the order of the stories. Each passage has a random rank, and those of the
        best ranks stay."""
        draw = random.Random(self._options.seed)
        kept: list[tuple[float, Passage]] = []
        held, bar = 0, 1.0
        for passage in self.read("train"):
            rank = draw.random()
            if rank >= bar:
                continue
            before = passage.context[-context:] if context else ""
            kept.append((rank, replace(passage, context=before)))
            held += len(passage.text) + len(before)
            while held > MAX_HELD_CHARACTERS:
                bar /= 2
                kept = [each for each in kept if each[0] < bar]
                held = sum(len(each.text) + len(each.context) for _, each in kept)
        return [passage for _, passage in kept]

    def training(self) -> Callable[[], Iterable[Passage]]:
        """People's passages, as often as it is called."""
        return lambda: self.read("train")

    def replay(self) -> list[str]:
        """The base text that is mixed in."""
        return [piece.text for piece in pieces("replay", self.languages)]

    def base(self) -> dict[str, list[str]]:
        """The base text that nothing learns from, by language."""
        return {language: [piece.text for piece in pieces("held_out", (language,))] for language in self.languages}

    @property
    def learned(self) -> Learned:
        return Learned(
            authors=len(self.authors),
            characters=self.characters,
            largest_share=self._largest / max(1, self.characters),
        )

    @property
    def limits(self) -> Limits:
        return Limits(authors=self._options.min_authors, characters=self._options.min_characters)

    @property
    def counts(self) -> dict[str, int]:
        """For the version's record."""
        return {
            "authors": len(self.authors),
            "passages": self.passages,
            "characters": self.characters,
            "held_out_passages": len(self.held_out),
        }
