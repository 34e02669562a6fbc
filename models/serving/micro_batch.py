"""Short work (moods, images) in batches: what arrives within a few milliseconds runs together. Background work fills
what room is left and is dropped first under load. Knows no model; a function that answers a whole batch is handed in.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from models.serving.engine import EngineClosedError, EngineError, EngineOverloadedError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """A batch starts when `max_batch` items wait, or when the first of them has waited `max_wait_s`; meanwhile the
    batch before it may still run, one at a time. At most `max_waiting` items wait; background items only as long as
    fewer than `max_background` items of either kind do."""

    max_batch: int = 32
    max_wait_s: float = 0.005
    max_waiting: int = 256
    max_background: int = 64


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: "asyncio.Future[Answer]"


class MicroBatcher(Generic[Item, Answer]):
    """`async with` it. `run` gets at most `max_batch` items and returns as many answers in their order, or errors in
    their place. When it raises, the batch is halved and tried again, down to single items: so an item that can't be
    answered fails alone, and a batch too large for the memory is answered in parts. But an EngineError is about no
    item: all of the batch fail with it."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        limits: BatchLimits | None = None,
    ) -> None:
        self._run = run
        self._limits = limits or BatchLimits()
        self._urgent: deque[_Waiting[Item, Answer]] = deque()
        self._background: deque[_Waiting[Item, Answer]] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._closing = False
        self._working: asyncio.Task[None] | None = None
        self.dropped = 0

    async def __aenter__(self) -> "MicroBatcher[Item, Answer]":
        self._working = asyncio.create_task(self._work(), name="micro-batches")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._urgent) + len(self._background)

    async def answer(self, item: Item, *, background: bool = False) -> Answer:
        """Wait for the item's batch. A caller that is cancelled takes its item out. Raises EngineOverloadedError when
        no room is left (for a background item also later, when others need its place), EngineClosedError, and whatever
        `run` raises for this item alone."""
        if self._closing or self._working is None:
            raise EngineClosedError("the batcher is not running")
        self._make_room(background)
        waiting: _Waiting[Item, Answer] = _Waiting(item, asyncio.get_running_loop().create_future())
        queue = self._background if background else self._urgent
        queue.append(waiting)
        self._arrived.set()
        if len(self) >= self._limits.max_batch:
            self._full.set()
        try:
            return await waiting.answer
        finally:
            with contextlib.suppress(ValueError):  # a caller that leaves: its place is free at once
                queue.remove(waiting)

    async def close(self) -> None:
        """Finish the batch that runs; what waits ends with EngineClosedError."""
        self._closing = True
        for waiting in (*self._urgent, *self._background):
            _fail(waiting, EngineClosedError("Inkwell is shutting down"))
        self._arrived.set()
        self._full.set()
        if self._working is not None:
            await self._working

    def _make_room(self, background: bool) -> None:
        limits = self._limits
        if background and len(self) >= limits.max_background:
            self.dropped += 1
            raise EngineOverloadedError("background", len(self))
        if len(self) < limits.max_waiting:
            return
        if not self._background:
            raise EngineOverloadedError("server", len(self))
        self.dropped += 1
        _fail(self._background.popleft(), EngineOverloadedError("background", len(self)))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if len(self) < self._limits.max_batch and not self._closing:
                self._full.clear()
                deadline = loop.call_later(self._limits.max_wait_s, self._full.set)
                await self._full.wait()
                deadline.cancel()
            if self._closing:
                return
            batch = self._next_batch()
            if not len(self):
                self._arrived.clear()
            if batch:
                await self._answer_batch(batch)

    def _next_batch(self) -> list[_Waiting[Item, Answer]]:
        batch: list[_Waiting[Item, Answer]] = []
        for queue in (self._urgent, self._background):
            while queue and len(batch) < self._limits.max_batch:
                waiting = queue.popleft()
                if not waiting.answer.done():
                    batch.append(waiting)
        return batch

    async def _answer_batch(self, batch: list[_Waiting[Item, Answer]]) -> None:
        items = [waiting.item for waiting in batch]
        try:
            answers = await self._run(items)
            if len(answers) != len(items):
                raise RuntimeError(f"a batch of {len(items)} items got {len(answers)} answers")
        except Exception as error:
            if len(batch) == 1 or isinstance(error, EngineError):
                for waiting in batch:
                    _fail(waiting, error)
                return
            log.warning("a batch of %d items failed and is halved: %s", len(batch), error)
            middle = len(batch) // 2
            await self._answer_batch(batch[:middle])
            await self._answer_batch(batch[middle:])
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                _fail(waiting, answer)
            elif not waiting.answer.done():
                waiting.answer.set_result(answer)


def _fail(waiting: _Waiting[Item, Answer], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
