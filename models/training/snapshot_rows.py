"""What a snapshot holds and what it says of itself. Knows no file and no rule of cleaning."""

from typing import Literal

from msgspec import Struct

from models.serving.training import Counted

Split = Literal["train", "held_out"]
SplitBy = Literal["author", "story", "turn"]


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A cleaned part of a story. A `lesson` is what a person wrote with consent and no filter dropped; other rows are
    only context of a lesson: what a model wrote (`author` is "") or what is too short to learn from. The `split` of
    such a row is that of the lessons it may stand before: "" for both."""

    id: str
    story: str
    parent: str | None
    author: str
    text: str
    language: str
    lesson: bool
    split: Literal["train", "held_out", ""]


class Passage(Struct, frozen=True, kw_only=True):
    """A lesson and the words before it in its story: `context + text` is the story's own text, white space between
    included. No `context` of a passage to train on holds words that are held out."""

    context: str
    text: str
    author: str
    language: str
    id: str


class Correction(Struct, frozen=True, array_like=True):
    """A cleaned text and the mood that its author says is right."""

    id: str
    author: str
    text: str
    label: Literal["negative", "neutral", "positive"]
    language: str
    split: Split


class Picture(Struct, frozen=True, array_like=True):
    """A picture (PNG, RGB, without metadata) that its author gave."""

    id: str
    author: str
    png: bytes
    split: Split


class SnapshotReport(Struct, frozen=True, kw_only=True):
    """What a snapshot holds. Lessons are what `kept`, `authors`, `characters` and `held_out` count.

    `dropped` counts records that are no lesson, by reason; `removed` what was taken out of those that stayed, by kind.
    `context` counts rows that are only context. `people` are all whose words, corrections or pictures it holds.
    `digest` is that of all rows: the same for the same rows in any order of arrival. `split_by` says whose hash decides
    what is held out: the author's, unless too few wrote for that. `largest_share` is the part of the characters that
    the most diligent author wrote, in 0..1."""

    kept: int
    dropped: dict[str, int]
    removed: dict[str, int]
    context: int
    authors: int
    people: int
    characters: int
    held_out: int
    held_out_characters: int
    held_out_authors: int
    split_by: SplitBy
    largest_share: float
    languages: dict[str, int]
    corrections: int
    pictures: int
    digest: str

    def counted(self) -> Counted:
        """The same in short, for whoever started the run: corrections and pictures count, too."""
        return Counted(
            kept=self.kept + self.corrections + self.pictures,
            dropped=self.dropped,
            authors=self.people,
            characters=self.characters,
            held_out=self.held_out,
            digest=self.digest,
        )
