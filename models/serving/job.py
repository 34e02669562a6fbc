"""One request on its way, and the stream through which its reader follows it. Knows no queue and no engine."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from models.serving.event_buffer import EventBuffer
from models.serving.replica import Replica
from models.serving.requests import StoryEvent, StoryOutput, StoryRequest


@dataclass(kw_only=True, eq=False)
class Job:
    """One request from submission until its reader has seen the last event."""

    request: StoryRequest
    submitted: float
    events: EventBuffer = field(default_factory=EventBuffer)
    attempt: int = 0
    replica: Replica | None = None
    alone: bool = False  # the only one on its replica: if that dies again, it is to blame
    done: bool = False
    stop: Literal["", "cancelled", "deadline"] = ""
    position: int = 0
    started: float = 0.0
    deltas: int = 0
    text: list[str] = field(default_factory=list)
    claimed: bool = False
    abandoned: bool = False  # its reader has gone: nobody will take the last event
    timer: asyncio.TimerHandle | None = None


class StoryStream:
    """Reads one request's events. Leaving before the last one, by `aclose` or by dropping it, cancels the request; a
    timeout around one `anext` does not."""

    def __init__(self, job: Job, leave: Callable[[Job], None]) -> None:
        self._job = job
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._over = False

    def __aiter__(self) -> "StoryStream":
        return self

    async def __anext__(self) -> StoryEvent:
        if self._over:
            raise StopAsyncIteration
        try:
            event = await self._job.events.get()
        except asyncio.CancelledError:
            raise
        except Exception:
            self._end()
            raise
        if isinstance(event, StoryOutput):
            self._end()
        return event

    async def aclose(self) -> None:
        if not self._over:
            self._end()

    def __del__(self) -> None:
        if not self._over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, self._job)

    def _end(self) -> None:
        self._over = True
        self._leave(self._job)
