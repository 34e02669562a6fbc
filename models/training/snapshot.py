"""A snapshot on disk: the texts, corrections and pictures of one training run, sealed. Knows how to read it and to
delete it; `snapshot_writing` makes it.

A snapshot is a folder that appears whole or not at all. Its rows stand in the order of their stories, parents first.
Reading is streaming: a story at a time is in memory.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import msgspec

from models.serving.training import Family
from models.training.sealed_file import DamagedFileError, read_sealed
from models.training.snapshot_frames import read_items
from models.training.snapshot_rows import Correction, Passage, Picture, Row, SnapshotReport, Split

TURNS, CORRECTIONS, PICTURES, REPORT = "turns.sealed", "corrections.sealed", "pictures.sealed", "report.sealed"
CONTEXT_CHARACTERS: Final = 2_000
MAX_STORY_ROWS: Final = 10_000  # of a story that are in memory at once; what is behind has no context before that
_PARAGRAPH: Final = "\n\n"


class SnapshotMissingError(Exception):
    """There is no whole snapshot in that folder. Write it again."""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The report's file. `authors`: the pseudonyms of all whose words, corrections or pictures are in the snapshot."""

    report: SnapshotReport
    turn_authors: tuple[str, ...]
    correction_authors: tuple[str, ...]
    picture_authors: tuple[str, ...]


class Snapshot:
    """A whole snapshot. Every reader raises DamagedFileError where a file was cut or altered."""

    def __init__(self, folder: Path, key: str, contents: Contents) -> None:
        self.folder, self._key, self._contents = folder, key, contents

    @classmethod
    def open(cls, folder: Path, key: str) -> Self:
        """Raises SnapshotMissingError, WrongKeyError, DamagedFileError, ValueError for a key that is none."""
        path = folder / REPORT
        if not path.exists():
            raise SnapshotMissingError(f"there is no whole snapshot in {folder}")
        data = b"".join(read_sealed(path, key))
        try:
            contents = msgspec.msgpack.decode(data, type=Contents)
        except msgspec.DecodeError as error:
            raise DamagedFileError(f"{path.name} was written by another version of Inkwell") from error
        return cls(folder, key, contents)

    @property
    def report(self) -> SnapshotReport:
        return self._contents.report

    def authors(self, family: Family) -> frozenset[str]:
        """The pseudonyms of everybody from whom a version of `family` learns, or on whose words it is judged, or
        whose words stand before a lesson."""
        if family == "mood":
            return frozenset(self._contents.correction_authors)
        if family == "portraits":
            return frozenset(self._contents.picture_authors)
        return frozenset(self._contents.turn_authors)

    def turns(self, split: Split) -> Iterator[Row]:
        """The lessons of `split`, in the order of their stories."""
        return (row for row in read_items(self.folder / TURNS, self._key, Row) if row.lesson and row.split == split)

    def passages(self, split: Split, *, context: int = CONTEXT_CHARACTERS) -> Iterator[Passage]:
        """The lessons of `split` with at most `context` characters of the words before each."""
        for story in self.stories():
            rows = {row.id: row for row in story}
            for row in story:
                if row.lesson and row.split == split:
                    yield Passage(
                        context=_context(row, rows, context),
                        text=row.text,
                        author=row.author,
                        language=row.language,
                        id=row.id,
                    )

    def stories(self) -> Iterator[list[Row]]:
        """All rows, a story at a time."""
        return story_blocks(read_items(self.folder / TURNS, self._key, Row))

    def corrections(self, split: Split) -> Iterator[Correction]:
        return (each for each in read_items(self.folder / CORRECTIONS, self._key, Correction) if each.split == split)

    def pictures(self, split: Split) -> Iterator[Picture]:
        return (each for each in read_items(self.folder / PICTURES, self._key, Picture) if each.split == split)

    def delete(self) -> None:
        """Remove it from the disk. Blocks that a disk still holds are sealed: without the key they are noise."""
        shutil.rmtree(self.folder)


def story_blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows that come one after another from one story, together."""
    story: list[Row] = []
    for row in rows:
        if story and (row.story != story[-1].story or len(story) >= MAX_STORY_ROWS):
            yield story
            story = []
        story.append(row)
    if story:
        yield story


def _context(row: Row, rows: dict[str, Row], limit: int) -> str:
    """What stands before `row`, from its parents: until one is missing, or held out while `row` is to be learned."""
    parts: list[str] = []
    length = 0
    follows = row  # what stands behind the part that is looked at
    parent = rows.get(row.parent) if row.parent is not None else None
    seen = {row.id}
    while parent is not None and length < limit and parent.id not in seen:
        if row.split == "train" and parent.split == "held_out":
            break
        seen.add(parent.id)
        # As the story is shown: a person's passage is a paragraph of its own, a model's brings its white space.
        text = parent.text.rstrip() + _PARAGRAPH if follows.author else parent.text
        parts.append(text)
        length += len(text)
        follows = parent
        parent = rows.get(parent.parent) if parent.parent is not None else None
    whole = "".join(reversed(parts)).lstrip()
    return whole if len(whole) <= limit else _cut(whole, limit)


def _cut(text: str, limit: int) -> str:
    """The end of `text`, from the beginning of a word where one is near; at most `limit` characters."""
    end = text[len(text) - limit :] if limit > 0 else ""
    word = end.find(" ", 0, 40)
    return end[word + 1 :] if word >= 0 else end
