"""Open pages and what is sent to them: bounded queues, a slow page is dropped. Knows no event's meaning."""

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from bot.sandbox.errors import RefusedError
from bot.sandbox.limits import MAX_PAGE_SOCKETS, PAGE_QUEUE_EVENTS
from bot.sandbox.wire import Json

log = logging.getLogger(__name__)
_PING_S = 30.0


@dataclass(eq=False)
class _Page:
    user_id: str
    response: web.WebSocketResponse
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(PAGE_QUEUE_EVENTS))
    transport: asyncio.Transport | None = None


class PageSockets:
    """All WebSockets of pages, by the user each of them shows."""

    def __init__(self) -> None:
        self._pages: set[_Page] = set()

    def watching(self) -> list[str]:
        """Users with an open page."""
        return list(dict.fromkeys(page.user_id for page in self._pages))

    def send(self, user_id: str, event: str, data: Json) -> None:
        frame = json.dumps({"t": event, "d": data}, ensure_ascii=False)
        for page in self._pages:
            if page.user_id != user_id:
                continue
            try:
                page.queue.put_nowait(frame)
            except asyncio.QueueFull:
                log.warning("A page reads too slowly and is dropped; it reconnects and reloads.")
                if page.transport is not None:
                    page.transport.abort()

    async def handle(self, request: web.Request, user_id: str) -> web.WebSocketResponse:
        if len(self._pages) >= MAX_PAGE_SOCKETS:
            raise RefusedError(403, 0, f"More than {MAX_PAGE_SOCKETS} pages are open. Close some.")
        response = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=1 << 10)
        await response.prepare(request)
        page = _Page(user_id=user_id, response=response, transport=request.transport)
        self._pages.add(page)
        writer = asyncio.create_task(self._write(page), name="sandbox-page-writer")
        try:
            # a page says nothing here: everything it does is a request of its own
            while (await response.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                pass
        finally:
            self._pages.discard(page)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return response

    async def close(self) -> None:
        for page in list(self._pages):
            await page.response.close(code=1001, message=b"The sandbox is shutting down.")

    async def _write(self, page: _Page) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await page.response.send_str(await page.queue.get())
