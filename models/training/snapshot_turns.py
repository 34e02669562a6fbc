"""The turns of a snapshot: drafted as they come, compared, divided, written. Knows no correction, picture or database.

Of each row of the draft some forty bytes stay in memory, and of each lesson a sketch.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.serving.training import TurnRecord
from models.training import snapshot_quality as quality
from models.training.near_duplicates import Sketches
from models.training.repeated_sentences import Sentences
from models.training.snapshot import story_blocks
from models.training.snapshot_cleaning import clean
from models.training.snapshot_frames import FrameWriter, RowDigest, read_items
from models.training.snapshot_rows import Row, SplitBy
from models.training.snapshot_split import divide, stable_hash, thinned

BATCH_CHARACTERS: Final = 1 << 17  # numpy's arrays of a batch stay in the processor's cache: half the time of 1 << 19
BATCH_ROWS: Final = 4_096
_MIN_LEFT: Final = 0.5  # of the characters: a text of which more was taken out is not what somebody wrote
_NOBODY: Final = -1
_DROPPED, _CONTEXT, _LESSON, _LESSON_WITH_REPEATED_SENTENCE = 0, 1, 2, 3
_SPLITS: Final[tuple[Literal["", "train", "held_out"], ...]] = ("", "train", "held_out")

Indices = NDArray[np.int64]


@dataclass(kw_only=True)
class KeptTurns:
    """What was written. `authors`: everybody whose words are in it, as a lesson or as context; `written`: the
    characters of the lessons by author."""

    split_by: SplitBy
    lessons: int = 0
    context: int = 0
    characters: int = 0
    held_out: int = 0
    held_out_characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    authors: set[str] = field(default_factory=set)
    written: Counter[str] = field(default_factory=Counter)
    held_out_authors: set[str] = field(default_factory=set)

    def count(self, row: Row) -> None:
        if row.author:
            self.authors.add(row.author)
        if not row.lesson:
            self.context += 1
            return
        self.lessons += 1
        self.characters += len(row.text)
        self.written[row.author] += len(row.text)
        self.languages[row.language] += 1
        if row.split == "held_out":
            self.held_out += 1
            self.held_out_characters += len(row.text)
            self.held_out_authors.add(row.author)


class TurnDraft:
    """Takes turns in a `with` block, then writes what is kept of them. `dropped` and `removed` are added to."""

    def __init__(self, path: Path, key: str, dropped: Counter[str], removed: Counter[str]) -> None:
        self._path, self._key, self._dropped, self._removed = path, key, dropped, removed
        self._draft = FrameWriter(path, key)
        self._encode = msgspec.msgpack.Encoder().encode
        self._sketches, self._sentences = Sketches(), Sentences()  # of the candidates, under the same numbers
        self._people: dict[str, int] = {}
        self._people_hashes = array("Q")
        # Of each row of the draft:
        self._author, self._sketch, self._length = array("i"), array("i"), array("i")
        self._story, self._turn, self._at = array("Q"), array("Q"), array("d")
        self._last_story = ("", 0)
        self._pending: list[tuple[TurnRecord, str, str, bool]] = []  # record, text, language, may be a lesson
        self._characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._draft:  # closed, too, when the last turns find the disk full
                self._take_pending()
        else:
            self._draft.__exit__(kind, error, trace)

    def add(self, record: TurnRecord) -> None:
        text, removed, why = clean(record.text)
        if removed:
            self._removed.update(removed)
            if not why and len(text) < _MIN_LEFT * len(record.text.strip()):
                why = "mostly_removed"
        if why:
            self._dropped[why] += 1
            return
        if record.author:
            language = quality.language_of(text)
            if language == "none":
                self._dropped["no_language"] += 1
                return
            short = quality.is_short(text, language)
            if short:
                self._dropped["short"] += 1
            self._pending.append((record, text, language, not short))
        else:
            self._pending.append((record, _white_space_before(record.text) + text, record.language, False))
        self._characters += len(text)
        if self._characters >= BATCH_CHARACTERS or len(self._pending) >= BATCH_ROWS:
            self._take_pending()

    def _take_pending(self) -> None:
        number = len(self._sketches)
        texts = [text for _, text, _, candidate in self._pending if candidate]
        self._sentences.add(texts)
        letters, variety = (measure.tolist() for measure in self._sketches.add(texts))
        place = 0
        for record, text, language, candidate in self._pending:
            sketch = _NOBODY
            if candidate:
                sketch = number + place
                place += 1
                why = quality.why_not(text, language, letters=letters[place - 1], variety=variety[place - 1])
                if why:
                    self._dropped[why] += 1
                    continue
            self._keep(record, text, language, sketch)
        self._pending.clear()
        self._characters = 0

    def _keep(self, record: TurnRecord, text: str, language: str, sketch: int) -> None:
        author = _NOBODY
        if record.author:
            author = self._people.setdefault(record.author, len(self._people))
            if author == len(self._people_hashes):
                self._people_hashes.append(stable_hash(record.author))
        if record.story != self._last_story[0]:
            self._last_story = (record.story, stable_hash(record.story))
        self._author.append(author)
        self._sketch.append(sketch)
        self._length.append(len(text))
        self._story.append(self._last_story[1])
        self._turn.append(stable_hash(record.id))
        self._at.append(record.at)
        row = Row(record.id, record.story, record.parent, record.author, text, language, sketch != _NOBODY, "")
        self._draft.add(self._encode(row))

    def write(self, path: Path, digest: RowDigest, tick: Callable[[], None]) -> KeptTurns:
        """Write the rows that are kept to `path`, add them to `digest`, and remove the draft."""
        decided = self._decide()
        del self._sketches
        kept = KeptTurns(split_by=decided.split_by)
        position = 0
        with FrameWriter(path, self._key) as writer:
            for story in story_blocks(read_items(self._path, self._key, Row)):
                end = position + len(story)
                if position // BATCH_ROWS != end // BATCH_ROWS:
                    tick()
                for row in _needed(self._final(story, decided, position)):
                    encoded = self._encode(row)
                    writer.add(encoded)
                    digest.add(encoded)
                    kept.count(row)
                position = end
        self._path.unlink()
        return kept

    def _decide(self) -> "_Decided":
        author, sketch = np.array(self._author, dtype=np.int64), np.array(self._sketch, dtype=np.int64)
        story, turn = np.array(self._story, dtype=np.uint64), np.array(self._turn, dtype=np.uint64)
        length, at = np.array(self._length, dtype=np.int64), np.array(self._at)
        people = np.array(self._people_hashes, dtype=np.uint64)

        again = np.ones(len(turn), dtype=np.bool_)  # a turn that came twice
        again[np.unique(turn, return_index=True)[1]] = False
        self._drop("repeated", int(again.sum()))
        candidates = np.flatnonzero((sketch != _NOBODY) & ~again)
        rank = np.empty(len(candidates), dtype=np.int64)
        rank[np.lexsort((turn[candidates], at[candidates]))] = np.arange(
            len(candidates)
        )  # the earliest is the original
        original = candidates[self._sketches.originals(sketch[candidates], rank)]
        own = original == candidates
        lessons, repeats, originals = candidates[own], candidates[~own], original[~own]
        self._drop("repeated", len(repeats))
        stay = thinned(author[lessons], turn[lessons], length[lessons])
        self._drop("flooding", int((~stay).sum()))
        lessons = lessons[stay]

        held, by = divide(people[author[lessons]], story[lessons], turn[lessons], length[lessons])
        splits = np.zeros(len(author), dtype=np.uint8)
        if by == "author":
            splits[author != _NOBODY] = 1
            splits[np.isin(author, np.unique(author[lessons[held]]))] = 2
        elif by == "story":
            splits[:] = np.where(np.isin(story, np.unique(story[lessons[held]])), 2, 1)
        splits[lessons] = np.where(held, 2, 1)

        roles = np.where(again, _DROPPED, _CONTEXT).astype(np.uint8)
        roles[lessons] = _LESSON
        # A repetition of what is on the other side would carry it there as context.
        roles[repeats[splits[repeats] != splits[_roots(repeats, originals, len(author))]]] = _DROPPED
        sentences, holders = self._sentences.repeated(sketch[lessons])
        roles[lessons[np.isin(sketch[lessons], holders)]] = _LESSON_WITH_REPEATED_SENTENCE
        return _Decided(roles, splits, by, sentences)

    def _final(self, story: list[Row], decided: "_Decided", position: int) -> Iterator[Row]:
        """The rows of a story as they were decided on; the first of them is row `position` of the draft."""
        places = slice(position, position + len(story))
        for row, role, number in zip(
            story, decided.roles[places].tolist(), decided.splits[places].tolist(), strict=True
        ):
            text, lesson = row.text, role >= _LESSON
            if role == _DROPPED:
                continue
            if role == _LESSON_WITH_REPEATED_SENTENCE:
                text = clean(self._sentences.without(text, decided.sentences)).text
                self._removed["sentence"] += 1
                if quality.is_short(text, row.language):
                    self._drop("sentences", 1)
                    lesson = False
                if not text:
                    continue
            yield Row(row.id, row.story, row.parent, row.author, text, row.language, lesson, _SPLITS[number])

    def _drop(self, reason: str, times: int) -> None:
        if times:
            self._dropped[reason] += times


class _Decided(NamedTuple):
    """(rows,) what each row is, (rows,) its split as an index of `_SPLITS`, and the sentences that too many hold."""

    roles: NDArray[np.uint8]
    splits: NDArray[np.uint8]
    split_by: SplitBy
    sentences: frozenset[int]


def _roots(repeats: Indices, originals: Indices, rows: int) -> Indices:
    """The row at the end of each chain of repetitions."""
    parent = np.arange(rows)
    parent[repeats] = originals
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent[repeats]
        parent = further


def _needed(story: Iterable[Row]) -> Iterator[Row]:
    """The lessons of a story and the rows before them: words that nothing is learned from are not kept."""
    rows = {row.id: row for row in story}
    needed: set[str] = set()
    for row in rows.values():
        above: Row | None = row if row.lesson else None
        while above is not None and above.id not in needed:
            needed.add(above.id)
            above = rows.get(above.parent) if above.parent is not None else None
    return (row for row in rows.values() if row.id in needed)


def _white_space_before(text: str) -> str:
    """As much as the spelling of a text has: a model's words go on where the story stands."""
    space = text[: len(text) - len(text.lstrip())]
    lines = space.count("\n")
    return "\n" * min(lines, 2) if lines else " " * bool(space)
