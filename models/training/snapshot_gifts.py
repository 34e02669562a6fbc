"""The corrections and pictures of a snapshot: drafted as they come, divided, written. Knows no story."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.serving.training import CorrectionRecord, PictureRecord
from models.training import snapshot_quality as quality
from models.training.snapshot_cleaning import clean
from models.training.snapshot_frames import FrameWriter, RowDigest, read_items
from models.training.snapshot_pictures import plain_picture
from models.training.snapshot_rows import Correction, Picture, Split
from models.training.snapshot_split import divide, stable_hash, thinned

MAX_CORRECTIONS: Final = 200_000
MAX_PICTURES: Final = 20_000
MIN_GIFTS: Final = 50  # that anybody may give, however few others do


@dataclass(frozen=True, kw_only=True)
class KeptGifts:
    kept: int
    authors: frozenset[str]


class GiftDraft:
    """Takes gifts in a `with` block, then writes what is kept of them. `dropped` is added to."""

    kind: type[Correction] | type[Picture]
    most: int

    def __init__(self, path: Path, key: str, dropped: Counter[str]) -> None:
        self._path, self._key, self._dropped = path, key, dropped
        self._draft = FrameWriter(path, key)
        self._encode = msgspec.msgpack.Encoder().encode
        self._people: dict[str, int] = {}
        self._author, self._at = array("i"), array("d")
        self._id, self._content = array("Q"), array("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draft.__exit__(kind, error, trace)

    def _keep(self, gift: Correction | Picture, at: float, content: bytes) -> None:
        if len(self._author) >= self.most:
            self._dropped["too_many"] += 1
            return
        self._author.append(self._people.setdefault(gift.author, len(self._people)))
        self._at.append(at)
        self._id.append(stable_hash(gift.id))
        self._content.append(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big"))
        self._draft.add(self._encode(gift))

    def write(self, path: Path, digest: RowDigest, tick: Callable[[], None]) -> KeptGifts:
        """Write the gifts that are kept to `path`, add them to `digest`, and remove the draft."""
        author, ids = np.array(self._author, dtype=np.int64), np.array(self._id, dtype=np.uint64)
        content = np.array(self._content, dtype=np.uint64)
        chosen = _first_of_each(content, np.lexsort((ids, np.array(self._at), content)))
        self._drop("repeated", len(author) - len(chosen))
        stay = thinned(author[chosen], ids[chosen], np.ones(len(chosen), dtype=np.int64), floor=MIN_GIFTS)
        self._drop("flooding", int((~stay).sum()))
        chosen = np.sort(chosen[stay])
        people = np.array([stable_hash(name) for name in self._people], dtype=np.uint64)
        held, _ = divide(people[author[chosen]], ids[chosen], ids[chosen], np.ones(len(chosen), dtype=np.int64))
        splits: dict[int, Split] = {
            row: "held_out" if apart else "train" for row, apart in zip(chosen.tolist(), held.tolist(), strict=True)
        }
        authors = set()
        with FrameWriter(path, self._key) as writer:
            for number, gift in enumerate(read_items(self._path, self._key, self.kind)):
                if number % 256 == 0:
                    tick()
                if number in splits:
                    encoded = self._encode(msgspec.structs.replace(gift, split=splits[number]))
                    writer.add(encoded)
                    digest.add(encoded)
                    authors.add(gift.author)
        self._path.unlink()
        return KeptGifts(kept=len(chosen), authors=frozenset(authors))

    def _drop(self, reason: str, times: int) -> None:
        if times:
            self._dropped[reason] += times


class CorrectionDraft(GiftDraft):
    """Corrections; `removed` is added to. One text that several people label in several ways stays with each label."""

    kind = Correction
    most = MAX_CORRECTIONS

    def __init__(self, path: Path, key: str, dropped: Counter[str], removed: Counter[str]) -> None:
        super().__init__(path, key, dropped)
        self._removed = removed

    def add(self, record: CorrectionRecord) -> None:
        text, removed, why = clean(record.text)
        self._removed.update(removed)
        if why:
            self._dropped[why] += 1
            return
        language = quality.language_of(text)
        gift = Correction(record.id, record.author, text, record.label, language, "train")
        self._keep(gift, record.at, f"{record.label} {text}".encode())


class PictureDraft(GiftDraft):
    """Pictures."""

    kind = Picture
    most = MAX_PICTURES

    def add(self, record: PictureRecord) -> None:
        png = plain_picture(record.png)
        if png is None:
            self._dropped["no_picture"] += 1
            return
        self._keep(Picture(record.id, record.author, png, "train"), record.at, png)


def _first_of_each(content: NDArray[np.uint64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each run of equal `content` in `order`, the first."""
    ordered = content[order]
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]
