"""Counts how a channel's messages feel. A text lives here only until its mood is read, an author only as a salted hash
until the count is closed; neither is stored, logged or handed on. Knows no Discord object and no SQL.

A count begins with a whole hour. It is closed at the first full hour at which enough people have written; one that has
too few by midnight (UTC) is forgotten. So a quiet channel has longer counts, and none is of fewer than `MIN_AUTHORS`.

However fast messages come: `MAX_WAITING_TEXTS` wait for each channel and `MAX_PER_S` are read a second in all. The rest
is only counted as skipped.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from bot.store.moods import MoodCount
from bot.store.schema import MIN_AUTHORS
from bot.store.text import storable
from models.serving.engine import EngineOverloadedError
from models.serving.short_engine import ShortEngine
from models.serving.short_requests import Mood, MoodRequest

log = logging.getLogger(__name__)

MAX_TEXT_CHARS = 2_000  # of one message; the fast tier reads no more of a chat line
MAX_WAITING_TEXTS = 64  # of one channel
MAX_AUTHORS = 1_000  # told apart in one count; then it says "at least"
MAX_PER_S = 200  # what a busy server needs, at a few percent of one core
BATCH = 20
FLUSH_S = 20.0
_PAUSE_S = 5.0  # after a batch of which nothing was read

Keep = Callable[[int, MoodCount], Awaitable[None]]  # channel id, a closed count


@dataclass(eq=False)
class _Tally:
    """A count that is open. Its salt and hashes die with it."""

    channel_id: int
    hour: int
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    authors: set[bytes] = field(default_factory=set, repr=False)
    classes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("negative", "neutral", "positive"), 0))
    unsure: int = 0
    skipped: int = 0
    closed: bool = False

    def hash_of(self, author_id: int) -> bytes:
        return hashlib.blake2b(author_id.to_bytes(8, "big"), key=self.salt, digest_size=8).digest()

    def add(self, author: bytes, mood: Mood) -> None:
        if self.closed:
            return
        if len(self.authors) < MAX_AUTHORS:
            self.authors.add(author)
        if mood.sure:
            self.classes[mood.label] += 1
        else:
            self.unsure += 1

    @property
    def enough(self) -> bool:
        return len(self.authors) >= MIN_AUTHORS

    def close(self, now_hour: int) -> MoodCount:
        """The numbers; what could tell of anybody is dropped."""
        self.closed = True
        count = MoodCount(
            hour=self.hour,
            hours=max(1, min(24, now_hour - self.hour)),
            unsure=self.unsure,
            skipped=self.skipped,
            authors=len(self.authors),
            **self.classes,
        )
        self.authors.clear()
        self.salt = b""
        return count


class MoodSampler:
    """Somebody calls `flush` every `FLUSH_S` seconds. `keep` gets each closed count of enough people; `clock` gives
    Unix seconds."""

    def __init__(
        self, short: ShortEngine, keep: Keep, *, clock: Callable[[], float] = time.time, per_s: int = MAX_PER_S
    ) -> None:
        self._short, self._keep, self._clock, self._per_s = short, keep, clock, per_s
        self._waiting: dict[int, deque[tuple[_Tally, bytes, str]]] = {}  # by sampled channel
        self._open: dict[int, _Tally] = {}
        self._ended: list[_Tally] = []
        self._reading: asyncio.Task[None] | None = None  # as long as anything waits
        self._complained = False

    async def close(self) -> None:
        """Keep what may be kept; the rest is forgotten."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._ended.extend(self._open.values())
        self._open.clear()
        self._waiting.clear()
        await self.flush()

    @property
    def channels(self) -> frozenset[int]:
        return frozenset(self._waiting)

    def __contains__(self, channel_id: object) -> bool:
        """Whether the channel is sampled."""
        return channel_id in self._waiting

    @property
    def waiting(self) -> int:
        """Texts that wait to be read."""
        return sum(len(queue) for queue in self._waiting.values())

    def sample(self, channel_ids: Iterable[int]) -> None:
        """These channels, too."""
        for channel_id in channel_ids:
            self._waiting.setdefault(channel_id, deque())

    def leave(self, channel_ids: Iterable[int]) -> None:
        """These no more; what was counted since their last full hour is forgotten."""
        gone = set(channel_ids)
        for channel_id in gone:
            self._waiting.pop(channel_id, None)
            self._open.pop(channel_id, None)
        self._ended = [tally for tally in self._ended if tally.channel_id not in gone]

    def offer(self, channel_id: int, author_id: int, text: str) -> None:
        """A message was written; costs microseconds and never waits."""
        queue = self._waiting.get(channel_id)
        if queue is None:
            return
        tally = self._tally(channel_id)
        if len(queue) >= MAX_WAITING_TEXTS:
            tally.skipped += 1
            return
        queue.append((tally, tally.hash_of(author_id), text[:MAX_TEXT_CHARS]))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_waiting(), name="read moods")

    async def flush(self) -> None:
        """Close every count whose hour is over, and hand on what may be kept."""
        hour = self._hour()
        for channel_id, tally in list(self._open.items()):
            if self._is_over(tally, hour):
                self._ended.append(self._open.pop(channel_id))
        while self._ended:  # one by one: a flush that is cancelled leaves the rest for the last one
            tally = self._ended.pop()
            count = tally.close(hour)
            if count.authors < MIN_AUTHORS:
                continue
            try:
                await self._keep(tally.channel_id, count)
            except Exception:
                log.exception("a count of channel %d could not be kept", tally.channel_id)

    def _hour(self) -> int:
        return int(self._clock() // 3600)

    def _is_over(self, tally: _Tally, hour: int) -> bool:
        return hour > tally.hour and (tally.enough or hour // 24 > tally.hour // 24)

    def _tally(self, channel_id: int) -> _Tally:
        hour = self._hour()
        tally = self._open.get(channel_id)
        if tally is not None and self._is_over(tally, hour):
            self._ended.append(tally)
            tally = None
        if tally is None:
            tally = self._open[channel_id] = _Tally(channel_id, hour)
        return tally

    async def _read_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            began = loop.time()
            read = await self._read(batch)
            pause = len(batch) / self._per_s - (loop.time() - began)
            await asyncio.sleep(max(0.0, pause) if read else _PAUSE_S)

    def _take(self) -> list[tuple[_Tally, bytes, str]]:
        """One text of each channel in turn, so that a loud one does not silence the others."""
        batch: list[tuple[_Tally, bytes, str]] = []
        while len(batch) < BATCH:
            before = len(batch)
            for queue in self._waiting.values():
                if queue and len(batch) < BATCH:
                    batch.append(queue.popleft())
            if len(batch) == before:
                break
        if len(self._waiting) > BATCH:  # those behind the batch come first the next time
            for channel_id in list(self._waiting)[:BATCH]:
                self._waiting[channel_id] = self._waiting.pop(channel_id)
        return batch

    async def _read(self, batch: list[tuple[_Tally, bytes, str]]) -> bool:
        """Whether anything was read."""
        requests = (MoodRequest(text=storable(text), method="linear", explain=False) for _, _, text in batch)
        answers = await asyncio.gather(
            *(self._short.ask(request, background=True) for request in requests), return_exceptions=True
        )
        read = False
        for (tally, author, _), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Mood):
                read = True
                tally.add(author, answer)
                continue
            if not tally.closed:
                tally.skipped += 1
            if isinstance(answer, asyncio.CancelledError):
                raise answer
            if not isinstance(answer, EngineOverloadedError) and not self._complained:
                self._complained = True
                log.warning("moods of channels can't be read: %s: %s", type(answer).__name__, answer)
        if read:
            self._complained = False
        return read
