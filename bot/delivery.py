"""Where an answer is shown: by the interaction's token while it lives, as the bot's own message in the channel after.
Knows nothing of what the answer says.
"""

import logging
from typing import Any

import discord

log = logging.getLogger(__name__)

BY_TOKEN_S = 14 * 60.0  # an interaction's token lives 15 minutes, and showing the answer takes a moment
IN_CHANNEL_S = 60 * 60.0  # nobody waits for a story longer than that
_TOKEN_DEAD = frozenset({50027, 10015, 10062})  # Discord: invalid webhook token, unknown webhook, unknown interaction
_NO_MENTIONS = discord.AllowedMentions.none()  # a story may say @everyone; nobody is pinged by it


class Delivery:
    """Sends and edits the messages of one answer.

    The interaction's token lives 15 minutes and works everywhere; the channel works for ever, but only where the bot
    is a member; `channel` is None elsewhere. The first refusal of the token switches to the channel for good.
    """

    def __init__(self, *, webhook: discord.Webhook | None, channel: discord.abc.Messageable | None) -> None:
        self._webhook, self._channel = webhook, channel

    @property
    def patience_s(self) -> float:
        """How long an answer may take from now on and still be shown."""
        return BY_TOKEN_S if self._channel is None else IN_CHANNEL_S

    async def send(self, content: str, view: discord.ui.View | None) -> "Delivered":
        """A new message. Raises discord.HTTPException when no way is left."""
        extra: dict[str, Any] = {"view": view} if view is not None else {}
        if self._webhook is not None:
            try:
                sent = await self._webhook.send(content, wait=True, allowed_mentions=_NO_MENTIONS, **extra)
                return Delivered(self, sent.id)
            except discord.HTTPException as error:
                self._drop_dead_token(error)
        if self._channel is None:
            raise MissingChannelError
        message = await self._channel.send(content, allowed_mentions=_NO_MENTIONS, **extra)
        return Delivered(self, message.id)

    async def edit(self, message_id: int, *, content: str | None, view: discord.ui.View | None) -> None:
        """Raises discord.NotFound when the message was deleted."""
        if self._webhook is not None:
            try:
                await self._webhook.edit_message(message_id, content=content, view=view, allowed_mentions=_NO_MENTIONS)
                return
            except discord.HTTPException as error:
                self._drop_dead_token(error)
        await self._partial(message_id).edit(content=content, view=view, allowed_mentions=_NO_MENTIONS)

    async def delete(self, message_id: int) -> None:
        if self._webhook is not None:
            try:
                await self._webhook.delete_message(message_id)
                return
            except discord.HTTPException as error:
                self._drop_dead_token(error)
        await self._partial(message_id).delete()

    def at(self, message_id: int) -> "Delivered":
        """A message that was already sent."""
        return Delivered(self, message_id)

    def _partial(self, message_id: int) -> discord.PartialMessage:
        getter = getattr(self._channel, "get_partial_message", None)
        if getter is None:
            raise MissingChannelError
        partial: discord.PartialMessage = getter(message_id)
        return partial

    def _drop_dead_token(self, error: discord.HTTPException) -> None:
        """Goes on by the channel if the token has died; any other failure is the caller's."""
        if error.status != 401 and error.code not in _TOKEN_DEAD:
            raise error
        log.info("an interaction's token has died, going on in the channel")
        self._webhook = None


class MissingChannelError(Exception):
    """The token has died and the bot can't write in that channel: the answer can't be shown, but it is kept."""


class Delivered:
    """One sent message of an answer; a `streaming.Surface`."""

    def __init__(self, delivery: Delivery, message_id: int) -> None:
        self._delivery, self.id = delivery, message_id

    async def edit(
        self,
        *,
        content: str | None,
        view: discord.ui.View | None,
        allowed_mentions: discord.AllowedMentions | None = None,
    ) -> None:
        await self._delivery.edit(self.id, content=content, view=view)

    async def delete(self) -> None:
        await self._delivery.delete(self.id)
