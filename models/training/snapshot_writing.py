"""Makes a snapshot from records as they come: cleaned, without repetition, divided, sealed. Knows no database.

Two passes over a million turns in bounded memory. The first cleans each record and appends it to a sealed draft; of
each row only a hundred and fifty bytes stay in memory. Between them the rows are compared with all others. The second
reads the draft, a story at a time, and writes what is kept. Every decision depends on the rows, none on the order in
which they came, so that the same records give the same digest.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from models.serving.training import CorrectionRecord, PictureRecord, Record
from models.training.sealed_file import SealedWriter
from models.training.snapshot import CORRECTIONS, PICTURES, REPORT, TURNS, Contents
from models.training.snapshot_frames import RowDigest
from models.training.snapshot_gifts import CorrectionDraft, GiftDraft, PictureDraft
from models.training.snapshot_rows import SnapshotReport
from models.training.snapshot_turns import TurnDraft

_TICK_RECORDS: Final = 2_048


def _nothing() -> None: ...


def write_snapshot(
    records: Iterable[Record], folder: Path, *, key: str, tick: Callable[[], None] = _nothing
) -> SnapshotReport:
    """Write `folder` (mode 0700), whole or not at all; one that was there is replaced. `key` has 64 hexadecimal
    characters and seals all that touches the disk, the draft too; "" seals nothing. `tick` is called every few thousand
    records, in both passes: what it raises ends the writing. Raises ValueError for a key that is none, OSError."""
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a writing that was killed
    draft.mkdir(mode=0o700, parents=True)
    try:
        report = _write(records, draft, key, tick)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _make_durable(folder.parent)
    return report


def _write(records: Iterable[Record], folder: Path, key: str, tick: Callable[[], None]) -> SnapshotReport:
    dropped: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    digest = RowDigest()
    with ExitStack() as drafts:
        turns = drafts.enter_context(TurnDraft(folder / "turns.draft", key, dropped, removed))
        corrections = drafts.enter_context(CorrectionDraft(folder / "corrections.draft", key, dropped, removed))
        pictures = drafts.enter_context(PictureDraft(folder / "pictures.draft", key, dropped))
        for number, record in enumerate(records):
            if isinstance(record, CorrectionRecord):
                corrections.add(record)
            elif isinstance(record, PictureRecord):
                pictures.add(record)
            else:
                turns.add(record)
            if number % _TICK_RECORDS == 0:
                tick()
    kept = turns.write(folder / TURNS, digest, tick)
    gifts: list[GiftDraft] = [corrections, pictures]
    given = [gift.write(folder / name, digest, tick) for gift, name in zip(gifts, (CORRECTIONS, PICTURES), strict=True)]
    report = SnapshotReport(
        kept=kept.lessons,
        dropped=dict(sorted(dropped.items())),
        removed=dict(sorted(removed.items())),
        context=kept.context,
        authors=len(kept.written),
        people=len(kept.authors.union(*(each.authors for each in given))),
        characters=kept.characters,
        held_out=kept.held_out,
        held_out_characters=kept.held_out_characters,
        held_out_authors=len(kept.held_out_authors),
        split_by=kept.split_by,
        largest_share=max(kept.written.values(), default=0) / max(kept.characters, 1),
        languages=dict(sorted(kept.languages.items())),
        corrections=given[0].kept,
        pictures=given[1].kept,
        digest=digest.hexdigest(),
    )
    contents = Contents(
        report=report,
        turn_authors=tuple(sorted(kept.authors)),
        correction_authors=tuple(sorted(given[0].authors)),
        picture_authors=tuple(sorted(given[1].authors)),
    )
    with SealedWriter(folder / REPORT, key) as writer:
        writer.write(msgspec.msgpack.encode(contents))
    _make_durable(folder)
    return report


def _make_durable(folder: Path) -> None:
    """The names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
