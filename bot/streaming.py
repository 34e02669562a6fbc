"""A text that grows before its readers: coalesced, rate-limited message edits. Knows nothing of stories or models."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import discord

from bot.markdown_split import split_message

log = logging.getLogger(__name__)

CURSOR = " ✒️"
_FINISH_TRIES = 4
_MAX_MESSAGES = 10  # one answer never floods a channel


class MessageGoneError(Exception):
    """The message that showed the text was deleted: nobody reads it any more."""


class Surface(Protocol):
    """A sent message: discord.py's Message, WebhookMessage, InteractionMessage and PartialMessage all are one."""

    id: int

    async def edit(
        self, *, content: str | None, view: discord.ui.View | None, allowed_mentions: discord.AllowedMentions | None
    ) -> Any: ...


Post = Callable[[str, discord.ui.View | None], Awaitable[Surface]]


class LiveMessage:
    """Shows a growing text in `first` and, past 2,000 characters, in further messages made by `post`.

    `show` never waits: the newest text wins, and one edit is in flight at a time, at most one every `interval_s`
    (discord.py holds an edit back while Discord's rate limit asks for it; texts that arrive meanwhile coalesce).
    `view` (the Stop button) sits on the last message. `on_post` hears of every further message at once.
    """

    def __init__(
        self,
        first: Surface,
        post: Post,
        *,
        interval_s: float,
        view: discord.ui.View | None = None,
        on_post: Callable[[Surface], Awaitable[None]] | None = None,
    ) -> None:
        self._surfaces: list[Surface] = [first]
        self._shown: list[tuple[str, bool]] = [("", False)]  # content and whether it carries the view
        self._post, self._on_post = post, on_post
        self._interval_s, self._view = interval_s, view
        self._text: str | None = None
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._ending = asyncio.Event()
        self._edits = 0
        self._task = asyncio.create_task(self._edit_loop(), name="live-message")

    @property
    def gone(self) -> bool:
        """Whether the message was deleted under us."""
        return self._gone.is_set()

    @property
    def text(self) -> str:
        """The newest text that was asked for."""
        return self._text or ""

    @property
    def edits(self) -> int:
        """How many requests were sent."""
        return self._edits

    @property
    def message_ids(self) -> tuple[int, ...]:
        return tuple(surface.id for surface in self._surfaces)

    def show(self, text: str) -> None:
        """Let readers see `text` soon, with a cursor behind it."""
        self._text = text
        self._changed.set()

    async def finish(self, text: str, view: discord.ui.View | None) -> tuple[int, ...]:
        """Show the final text and buttons, trying again on passing failures; return the ids of the messages.

        Raises MessageGoneError, or discord.HTTPException when Discord refused every try.
        """
        await self.abandon()
        for attempt in range(1, _FINISH_TRIES + 1):
            try:
                await self._render(text, view, cursor="")
                break
            except (discord.DiscordServerError, TimeoutError, OSError) as error:
                if attempt == _FINISH_TRIES:
                    raise
                log.warning("showing a finished text failed (%s), trying again", error)
                await asyncio.sleep(0.5 * 2**attempt)
        return self.message_ids

    async def abandon(self) -> None:
        """Stop editing; what is shown stays.

        An edit in flight is waited for, never cancelled: Discord may have it already and apply it after a later one,
        and then a stale text with its Stop button would stand over the final one for ever.
        """
        self._ending.set()
        self._changed.set()
        await self._task

    async def _edit_loop(self) -> None:
        while True:
            await self._changed.wait()
            if self._ending.is_set():
                return
            self._changed.clear()
            began = time.monotonic()
            try:
                await self._render(self._text or "", self._view, cursor=CURSOR)
            except MessageGoneError:
                return
            except (discord.HTTPException, TimeoutError, OSError) as error:
                log.warning("an edit of a live message failed, the next one shows it: %s", error)
            rest_s = max(0.0, self._interval_s - (time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), rest_s)

    async def _render(self, text: str, view: discord.ui.View | None, *, cursor: str) -> None:
        parts = split_message(text.rstrip() + cursor)[:_MAX_MESSAGES] or ["…"]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            wanted = view if last else None
            if index == len(self._surfaces):
                await self._send(part, wanted)
            elif self._shown[index] != (part, wanted is not None) or (last and not cursor):
                await self._edit(index, part, wanted)
        for index in range(len(self._surfaces) - 1, len(parts) - 1, -1):  # the final text may be shorter
            await self._drop(index)

    async def _send(self, content: str, view: discord.ui.View | None) -> None:
        self._edits += 1
        surface = await self._post(content, view)
        self._surfaces.append(surface)
        self._shown.append((content, view is not None))
        if self._on_post:
            await self._on_post(surface)

    async def _edit(self, index: int, content: str, view: discord.ui.View | None) -> None:
        self._edits += 1
        try:
            await self._surfaces[index].edit(
                content=content, view=view, allowed_mentions=discord.AllowedMentions.none()
            )
        except discord.NotFound as error:
            self._gone.set()
            raise MessageGoneError from error
        self._shown[index] = (content, view is not None)

    async def _drop(self, index: int) -> None:
        surface = self._surfaces.pop(index)
        self._shown.pop(index)
        delete = getattr(surface, "delete", None)
        if delete is not None:
            with contextlib.suppress(discord.HTTPException):
                await delete()
