"""What one request's reader has not read yet. Bounded: unread text is kept as one piece, an outdated position or a
text that began anew is dropped. Knows no engine.
"""

import asyncio

from models.serving.requests import Queued, Started, StoryEvent, StoryOutput, TextDelta


class EventBuffer:
    """Events of one request for one reader; all calls are made on the event loop."""

    def __init__(self) -> None:
        self._position: Queued | None = None
        self._started: Started | None = None
        self._text: list[str] = []
        self._last: StoryOutput | Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    def put(self, event: Queued | Started | TextDelta) -> None:
        if self._last is not None:
            return
        match event:
            case Queued():
                self._position = event
            case Started():
                self._position, self._started = None, event
                self._text.clear()
            case TextDelta(text=text):
                self._text.append(text)
        self._notify()

    def finish(self, last: StoryOutput | Exception) -> None:
        """The last event, or the error in its place; what comes later is ignored."""
        if self._last is None:
            self._last = last
            self._position = None
            self._notify()

    async def get(self) -> StoryEvent:
        """The next event; the reader stops after a StoryOutput. Raises the error that ended the request."""
        while True:
            if self._position is not None:
                position, self._position = self._position, None
                return position
            if self._started is not None:
                started, self._started = self._started, None
                return started
            if self._text:
                text = "".join(self._text)
                self._text.clear()
                return TextDelta(text=text)
            if isinstance(self._last, Exception):
                raise self._last
            if self._last is not None:
                return self._last
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
